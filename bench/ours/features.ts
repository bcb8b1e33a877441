// features.js denoise|average|boundaries FEATURES OUT: what the command of that name does; prints as bench/peer/features.py does.
import { readFileSync } from 'node:fs';
import { FeatureSet, writeBoundaries, writeCredible, writePrototypes } from '../../src/features/index.ts';
import { buildInfo } from '../../src/torch/index.ts';

const [command, path, out] = process.argv.slice(2) as ['denoise' | 'average' | 'boundaries', string, string];
buildInfo(); // libtorch is there before the clock starts, as NumPy is
const [start, before] = [performance.now(), process.cpuUsage()];
using features = FeatureSet.open(path);
const commands = {
  denoise: () => writeCredible(out, features, { keep: 0.9 }),
  average: () => writePrototypes(out, features),
  boundaries: () => writeBoundaries(out, features),
};
await commands[command]();
const { user, system } = process.cpuUsage(before);
const seconds = (performance.now() - start) / 1000;
const [, peakKb] = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))!;
process.stdout.write(
  `${JSON.stringify({ seconds, cpuSeconds: (user + system) / 1e6, peakMb: Number(peakKb) / 1024 })}\n`,
);
