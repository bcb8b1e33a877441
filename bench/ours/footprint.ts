// footprint.js CASE: one process of a training run that takes a few steps and then tells what memory it holds, in bytes.
import { readFileSync } from 'node:fs';
import { FeatureSet } from '../../src/features/index.ts';
import { dieWithParent, joinProcessGroup, rankInfoOf, trimMemory } from '../../src/torch/index.ts';
import type { FootprintCase } from '../footprint.ts';
import { startTraining } from './training.ts';

const { classes, sampleRate, features, workload } = JSON.parse(process.argv[2]!) as FootprintCase;
const STEPS = 4;

const memory = (what: 'VmRSS' | 'VmHWM'): number =>
  1024 * Number(new RegExp(`${what}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]);

dieWithParent();
const place = rankInfoOf(process.env);
const distributed = place && joinProcessGroup(place);
const training = startTraining(
  { ...workload, classes },
  { head: { kind: 'arcface', ...(sampleRate < 1 && { sampleRate }) } },
  distributed ? { group: distributed.group } : {},
);
const old = features === null ? null : FeatureSet.open(features);
const losses: number[] = [];
for (let step = 0; step < STEPS; step++) {
  old?.rows(Int32Array.from({ length: workload.batch }, (_, i) => (i * 7919 + step * 104_729) % old.info.count));
  losses.push(training.step());
}
trimMemory();
const told = { peak: memory('VmHWM'), kept: memory('VmRSS'), losses };
distributed?.leave();
process.stdout.write(`${JSON.stringify(told)}\n`);
