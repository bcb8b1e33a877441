// Kills a random process of a training by several at a random step, again and again; each time the launcher must end all within
// ten seconds and leave neither process nor port, and the run goes on with 4, 2 or 1 processes. At its end it must have learned
// what undisturbed runs learn.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Rng } from '../../src/base/rng.ts';
import { packageRoot } from '../../src/base/version.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { freePort } from '../../test/helpers/processes.ts';

const [WITHIN_MS, EPOCHS, STEPS_AN_EPOCH] = [10_000, 40, 4];
const main = join(packageRoot, 'dist/src/cli/main.js');
const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** @returns what went wrong, if anything did */
export async function killTraining(kills: number, rng: Rng): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-faults-'));

  await writeTinySet(join(folder, 'set'), { perClass: [9, 8, 7, 9, 8, 9] });
  const recipe = (seed: number): string => {
    const path = join(folder, `recipe-${seed}.json`);
    const network = { name: 'vit_t', embeddingDim: 8, inputSide: 32, width: 1 / 32, dropPath: 0, maskRatio: 0 };
    const optimizer = { kind: 'sgd', lr: 0.02 };
    const plain = { network, optimizer, syncBatchNorm: true, batchSize: 12, epochs: EPOCHS, seed };
    writeFileSync(path, JSON.stringify(plain));
    return path;
  };
  const training = (out: string, seed: number): string[] => [
    'train',
    recipe(seed),
    '--data',
    join(folder, 'set'),
    '--out',
    join(folder, out),
    '--log-every',
    '1',
  ];
  const steps = (out: string): { readonly step: number; readonly loss: number }[] => {
    const log = join(folder, out, 'log.jsonl');
    const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : [];
    return lines.map((line) => JSON.parse(line));
  };
  /** Mean loss of the last epoch. */
  const learned = (out: string): number =>
    steps(out)
      .slice(-STEPS_AN_EPOCH)
      .reduce((sum, { loss }) => sum + loss, 0) / STEPS_AN_EPOCH;

  /** Runs until the end, or until a process has been killed at `killAt`. @returns what went wrong, if anything did */
  async function launch(
    processes: number,
    { resume, killAt }: { resume: boolean; killAt?: number },
  ): Promise<string[]> {
    const port = await freePort();
    const args = [
      main,
      'launch',
      '--nproc',
      String(processes),
      '--master-port',
      String(port),
      '--',
      ...training('run', 1),
    ];
    const child = spawn(process.execPath, resume ? [...args, '--resume'] : args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (more) => (text += more));
    const ended = new Promise<number | null>((done) => child.once('close', done));
    if (killAt === undefined) {
      const code = await ended;
      return code === 0 ? [] : [`ended with ${code}: ${text.slice(-500)}`];
    }
    while ((steps('run').at(-1)?.step ?? 0) < killAt && child.exitCode === null)
      await new Promise((done) => setTimeout(done, 10));
    const ids = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ').map(Number);
    process.kill(ids[rng.integer(ids.length)]!, 'SIGKILL');
    const start = performance.now();
    const code = await ended;
    const tookMs = performance.now() - start;
    say(`  killed one of ${processes} at step ${killAt}; all had ended after ${tookMs.toFixed(0)} ms`);
    const problems = ids.filter((id) => existsSync(`/proc/${id}`)).map((id) => `process ${id} is left`);
    if (tookMs > WITHIN_MS) problems.push(`took ${tookMs} ms`);
    if (code !== 137) problems.push(`exit code ${code}`);
    if (!/process \d was ended by SIGKILL/.test(text.split('\n').slice(-4).join('\n')))
      problems.push(`last words: ${text.slice(-300)}`);
    const free = await new Promise<boolean>((done) => {
      const server = createServer().on('error', () => done(false));
      server.listen(port, () => server.close(() => done(true)));
    });
    return free ? problems : [...problems, `port ${port} is busy`];
  }

  const problems: string[] = [];
  let at = 0;
  for (let kill = 0; kill < kills; kill++) {
    const processes = kill === 0 ? 4 : [4, 2, 1][kill % 3]!;
    const killAt = Math.floor((steps('run').at(-1)?.step ?? 0) / STEPS_AN_EPOCH) * STEPS_AN_EPOCH + 2 + rng.integer(10);
    problems.push(...(await launch(processes, { resume: kill > 0, killAt })));
    at = killAt;
  }
  say(`  ${kills} kills, the last at step ${at} of ${EPOCHS * STEPS_AN_EPOCH}; now to the end`);
  problems.push(...(await launch(2, { resume: true })));
  const undisturbed = [1, 2, 3].map((seed) => {
    spawnSync(process.execPath, [main, ...training(`alone-${seed}`, seed)], { stdio: 'ignore' });
    return learned(`alone-${seed}`);
  });
  const [low, high] = [Math.min(...undisturbed), Math.max(...undisturbed)];
  const loss = learned('run');
  say(
    `last epoch's loss ${loss.toFixed(4)}; of three undisturbed seeds ${undisturbed.map((l) => l.toFixed(4)).join(', ')}`,
  );
  const spread = high - low;
  if (!(loss >= low - spread && loss <= high + spread)) problems.push(`loss ${loss} is outside of ${low} … ${high}`);
  const left = spawnSync('find', [folder, '-name', '*.part'], { encoding: 'utf8' }).stdout.trim();
  if (left) problems.push(`files left: ${left}`);
  rmSync(folder, { recursive: true, force: true });
  return problems;
}
