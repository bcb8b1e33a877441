// node dist/scripts/gpu-check.js --out FOLDER [--cpu] [--until MS]: what can only be known on a machine with an NVIDIA GPU, as
// scripts/gpu-check.sh runs it when everything is unpacked and built (docs/gpu.md). Writes gpu-check.json and gpu-check.md.
// --cpu: the half that needs no GPU; the rest is skipped by name. --until: when it has to be done, in milliseconds since 1970.
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../src/base/version.ts';
import { buildInfo } from '../src/torch/index.ts';
import { requireSameCourse } from './gpu-check/courses.ts';
import { describeMachine, toMarkdown } from './gpu-check/report.ts';

/** What one part of the check came to. */
export type Section = {
  readonly name: string;
  readonly outcome: 'done' | 'failed' | 'skipped';
  readonly seconds: number;
  /** Why it failed or was skipped. */
  readonly why?: string;
  /** Lines of JSON that a benchmark told, facts of a training. */
  readonly rows: readonly Readonly<Record<string, unknown>>[];
};

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'gpu-check' },
    cpu: { type: 'boolean', default: false },
    until: { type: 'string', default: String(Date.now() + 8 * 60_000) },
  },
});
const out = values.out!;
const cpuOnly = values.cpu!;
const until = Number(values.until);
mkdirSync(out, { recursive: true });

const at = (path: string): string => join(packageRoot, path);
const left = (): number => (until - Date.now()) / 1000;

/** The output of a program of this Node, which ends after `limit` seconds at the latest. */
function node(
  args: readonly string[],
  limit: number,
): Promise<{ readonly code: number | null; readonly text: string }> {
  const child = spawn(process.execPath, args, { cwd: out, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      text += chunk;
      process.stderr.write(chunk);
    });
  const end = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), 1000 * limit);
  return new Promise((done) =>
    child.once('close', (code) => {
      clearTimeout(end);
      done({ code, text });
    }),
  );
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
type Found = Pick<Section, 'rows'> & { readonly why?: string };

/** Tests that are marked for CUDA, each with how it ended. @throws Error naming those that failed */
async function tests(limit: number): Promise<Found> {
  const files = ['train/device', 'torch/distributed'].map((name) => at(`dist/src/${name}.test.js`));
  const rows: { readonly test: string; readonly outcome: string }[] = [];
  for (const file of files) {
    const { text } = await node(['--test-reporter=tap', '--test-name-pattern=CUDA|NCCL', file], limit);
    for (const [, not, test, skip] of text.matchAll(/^(not )?ok \d+ - (.*?)(?: # SKIP (.*))?$/gm))
      if (/CUDA|NCCL/.test(test!))
        rows.push({ test: test!, outcome: not ? 'failed' : skip ? `skipped: ${skip}` : 'passed' });
  }
  const failed = rows.filter(({ outcome }) => outcome === 'failed');
  if (rows.length === 0 || failed.length > 0)
    throw Object.assign(new Error(`failed: ${failed.map(({ test }) => test).join('; ') || 'no test ran'}`), { rows });
  return { rows };
}

/** The quick start's models on K12, few classes and epochs: on the CPU, and on the GPU with the same old features. */
async function training(limit: number): Promise<Found> {
  const main = at('dist/src/cli/main.js');
  const end = Date.now() + 1000 * limit;
  const run = async (line: string): Promise<void> => {
    const { code, text } = await node([main, ...line.split(' ')], (end - Date.now()) / 1000);
    if (code !== 0) throw new Error(`mixbct ${line}: ${lastLine(text)}`);
  };
  const threads = '--threads 4 --workers 2';
  await run(`data split ${at('data/k12')} --by class --ratio 0.3 --out k12 --force`);
  const [first, second] = ['k12/k12_part_30_class', 'k12/k12_part_70_class'];
  const devices = cpuOnly ? ['cpu'] : ['cpu', 'cuda'];
  for (const device of devices)
    await run(
      `train recipes/glyphs/old.yaml --set epochs=2 --data ${first} --out old-${device} --device ${device} --log-every 1 ${threads} --force`,
    );
  for (const device of devices)
    await run(`extract old-cpu --data ${second} --out features-${device} --device ${device} ${threads} --force`);
  await run('denoise features-cpu --keep 0.9 --out credible --threads 4 --force');
  const old = '--old-features features-cpu';
  for (const device of devices)
    for (const [name, more] of [
      ['l2', old],
      ['mixbct', `${old} --old-credible credible`],
    ] as const)
      await run(
        `train recipes/glyphs/${name}.yaml --set epochs=2 --data ${second} --out ${name}-${device} ${more} --device ${device} --log-every 1 ${threads} --force`,
      );
  const courses = ['old', 'l2', 'mixbct'].map((name) => {
    const [cpu, cuda] = devices.map((device) =>
      readFileSync(join(out, `${name}-${device}/log.jsonl`), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).loss as number),
    );
    return { model: name, ...requireSameCourse(name, cpu!, cuda) };
  });
  return {
    rows: courses,
    ...(cpuOnly && { why: 'on the CPU alone; losses on a GPU against them: skipped, no CUDA device' }),
  };
}

/** A benchmark, and the rows that it told, also if it was ended before its last. */
const bench =
  (name: string) =>
  async (limit: number): Promise<Found> => {
    const sizes = cpuOnly ? ['--small', '--runs', '1'] : ['--device', 'cuda', '--runs', '3'];
    const { code, text } = await node([at('dist/bench/main.js'), name, ...sizes], limit);
    const rows = text.split('\n').filter((line) => /^\{"(row|copies|skipped)":/.test(line)).map((line) => JSON.parse(line)); // biome-ignore format: short
    if (!rows.some((row) => 'row' in row)) throw Object.assign(new Error(lastLine(text)), { rows });
    return { rows, ...(code === null && { why: 'ended before it was through, for time' }) };
  };

/** In order of what must be known first. `least`: seconds without which it is not begun; `most`: what it may take. */
const sections: readonly { readonly name: string; readonly least: number; readonly most: number; readonly gpuOnly?: boolean; run(limit: number): Promise<Found> }[] = [
  { name: 'tests marked for CUDA', least: 20, most: 90, run: tests },
  { name: 'quick start’s models, losses against the CPU’s', least: 30, most: 120, run: training },
  { name: 'training step', least: 40, most: 200, run: bench('step') },
  { name: 'extraction', least: 40, most: 120, gpuOnly: true, run: bench('extract') },
  { name: 'PartialFC', least: 20, most: 150, run: bench('partial-fc') },
]; // biome-ignore format: a table

const done: Section[] = [];
const { cudaDevices } = buildInfo();
if (!cpuOnly && cudaDevices === 0) throw new Error('libtorch finds no CUDA device here; --cpu runs what needs none');
for (const { name, least, most, gpuOnly = false, run } of sections) {
  const startMs = performance.now();
  const seconds = (): number => (performance.now() - startMs) / 1000;
  const end = (section: Pick<Section, 'outcome' | 'rows'> & { readonly why?: string }): void => {
    done.push({ name, seconds: Number(seconds().toFixed(1)), ...section });
    const result = { machine: describeMachine(cpuOnly), sections: done };
    writeFileSync(join(out, 'gpu-check.json'), `${JSON.stringify(result, null, 1)}\n`);
    writeFileSync(join(out, 'gpu-check.md'), toMarkdown(result));
    process.stderr.write(`gpu-check: ${name}: ${section.outcome}${section.why ? ` (${section.why})` : ''}\n`);
  };
  if (cpuOnly && gpuOnly) end({ outcome: 'skipped', why: 'no CUDA device', rows: [] });
  else if (left() < least)
    end({ outcome: 'skipped', why: `${Math.max(0, left()).toFixed(0)} s left, ${least} s wanted`, rows: [] });
  else
    try {
      end({ outcome: 'done', ...(await run(cpuOnly ? left() : Math.min(most, left()))) });
    } catch (error) {
      end({ outcome: 'failed', why: (error as Error).message, rows: (error as { rows?: Section['rows'] }).rows ?? [] });
    }
}
process.exitCode = done.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
