// node dist/scripts/faults.js [--over NAMES] [--kills 2] [--writers 1] [--disks 2] [--strangers 5] [--training 0] [--seed 1]: what may
// happen to a command that writes, again and again at random: kills, a second writer, a disk that fills, --force at what is not its own, strangers at the ports of a
// training. It must end in the bytes of an undisturbed command. --training: kills of a training by several processes.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Rng } from '../src/base/rng.ts';
import { didYouMean } from '../src/base/suggestion.ts';
import { forcedOutputs } from '../test/helpers/forced-outputs.ts';
import { writeInputs, writers } from '../test/helpers/writers.ts';
import { attempt, removeOutput, WHOLE, wrongEnd } from './faults/attempts.ts';
import { filled } from './faults/disks.ts';
import { killed } from './faults/kills.ts';
import { paired } from './faults/pairs.ts';
import { pestered } from './faults/strangers.ts';
import { killTraining } from './faults/training.ts';

const text = (value: string) => ({ type: 'string', default: value }) as const;
const { values } = parseArgs({
  options: {
    over: text(Object.keys(writers).join(',')),
    kills: text('2'),
    writers: text('1'),
    disks: text('2'),
    strangers: text('5'),
    training: text('0'),
    seed: text('1'),
  },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const rng = new Rng(values.seed!).split('faults');
const names = values.over!.split(',').filter((name) => name !== '');
for (const name of names)
  if (!Object.hasOwn(writers, name)) {
    say(
      `--over ${name}: no such command${didYouMean(name, Object.keys(writers))}; there are ${Object.keys(writers).join(', ')}`,
    );
    process.exit(2);
  }

/** Bytes of everything whose path begins with `out`. */
function bytesOf(folder: string, out: string): number {
  const sizeOf = (path: string): number =>
    statSync(path).isDirectory()
      ? readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 4096)
      : Math.ceil(statSync(path).size / 4096) * 4096;
  return readdirSync(folder).filter((name) => name.startsWith(out)).reduce((sum, name) => sum + sizeOf(join(folder, name)), 0); // biome-ignore format: short
}

type Line = { readonly what: string; readonly counts: readonly (number | string)[]; readonly lost: readonly string[] };
const lines: Line[] = [];
const folder = mkdtempSync(join(tmpdir(), 'mixbct-faults-'));
try {
  await writeInputs(folder);
  for (const name of names) {
    const start = performance.now();
    const lost = wrongEnd(await attempt(folder, writers[name]!.make(WHOLE)), [0]);
    const tookMs = performance.now() - start;
    const of = (what: string) => rng.split(name, what);
    const [kills, pairs, disks] = [values.kills, values.writers, values.disks].map(Number) as [number, number, number];
    lost.push(...(await killed(name, folder, kills, of('kills'), tookMs)).map((line) => `killed: ${line}`));
    lost.push(...(await paired(name, folder, pairs, of('pairs'))).map((line) => `two writers: ${line}`));
    const full = await filled(name, folder, disks, of('disks'), bytesOf(folder, WHOLE));
    lost.push(...(full ?? []).map((line) => `full disk: ${line}`));
    removeOutput(folder, WHOLE);
    const forced = forcedOutputs(folder, name);
    lost.push(...forced.lost.map((line) => `--force at ${line}`));
    lines.push({ what: name, counts: [kills, pairs, full ? disks : 'not root', forced.tried], lost });
    for (const line of lost) say(`LOST ${name}: ${line}`);
    say(`${name}: ${kills} kills, ${pairs} pairs, ${full ? disks : 'no'} disks, ${lost.length} lost, ${((performance.now() - start) / 1000).toFixed(0)} s`); // biome-ignore format: short
    for (const out of [WHOLE, 'out-killed', 'out-pair']) removeOutput(folder, out);
  }
  if (Number(values.strangers) > 0) {
    const { came, ports, lost } = await pestered(folder, Number(values.strangers));
    lines.push({ what: `strangers: ${came} at ${ports} ports of a launched training`, counts: ['', '', '', ''], lost });
    for (const line of lost) say(`LOST strangers: ${line}`);
  }
  if (Number(values.training) > 0) {
    const lost = await killTraining(Number(values.training), rng.split('training'));
    lines.push({
      what: 'launched training, one of its processes killed',
      counts: [values.training!, '', '', ''],
      lost,
    });
    for (const line of lost) say(`LOST training: ${line}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
say(
  '\n| command | kills | pairs of writers | full disks | places that are not its own | lost |\n|---|---|---|---|---|---|',
);
for (const { what, counts, lost } of lines) say(`| ${what} | ${counts.join(' | ')} | ${lost.length} |`);
process.exitCode = lines.every(({ lost }) => lost.length === 0) ? 0 : 1;
