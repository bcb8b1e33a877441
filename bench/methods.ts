import type { OldModelBatch, OldModelConstants } from '../src/methods/index.ts';
import { keep, mul, normalizeRows, ones, rand, scope, type Tensor } from '../src/torch/index.ts';
import { noOldModelInputs, type OldModelInputs } from '../src/train/old-model-inputs.ts';
import { type Bench, measured, median, tell, worst } from './bench.ts';
import { startTraining, type Training } from './ours/training.ts';
import { describe, type Workload } from './workload.ts';

/** A step of a method over one of the classification loss alone. */
const BAR = 1.5;
const STEPS = 5;
/** Small images and many classes, so that what the methods add is seen. */
const workload: Workload = {
  width: 0.25,
  side: 32,
  batch: 128,
  dim: 128,
  classes: 10_000,
  threads: 2,
  warmup: 3,
};

/** UniBCT's prototypes are renewed between epochs, not in a step: from the first on they are as they began. */
const sections: readonly (readonly [name: string, section: object])[] = [
  ['mixbct', { kind: 'mixbct' }],
  ['l2', { kind: 'l2' }],
  ['bct', { kind: 'bct' }],
  ['unibct', { kind: 'unibct', startEpoch: 0, refreshEpochs: [0] }],
  ['nccl', { kind: 'nccl' }],
  ['advbct', { kind: 'advbct' }],
  ['pairs', { kind: 'pairs' }],
  ['joint', { kind: 'joint' }],
  ['ndpp', { kind: 'ndpp' }],
];

/** What a step of each method costs more than one of the classification loss alone. */
export const methods: Bench = {
  summary: 'a training step of each method against one of the classification loss alone',
  async run({ runs }) {
    tell(describe(workload));
    const old = anyOld(workload);
    const alone = startTraining(workload);
    const contenders = sections.map(([name, method]) => ({ name, training: startTraining(workload, { method, old }) }));
    for (const { step } of [alone, ...contenders.map(({ training }) => training)])
      for (let i = 0; i < workload.warmup; i++) step();
    const ratios = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    for (let run = 0; run < runs; run++)
      for (const { name, training } of contenders) ratios.get(name)!.push(seconds(training) / seconds(alone));
    const results = Object.fromEntries([...ratios].map(([name, all]) => [name, measured(median(all), BAR, 'lower')]));
    for (const [name, { ratio, ok }] of Object.entries(results))
      tell(`  ${name.padEnd(8)} ${ratio.toFixed(3)}× the time; bar ${BAR}: ${ok ? 'met' : 'MISSED'}`);
    return { ...worst(Object.values(results)), workload, runs, methods: results };
  },
};

/** Of one step, over several. */
function seconds({ step }: Training): number {
  const start = performance.now();
  for (let i = 0; i < STEPS; i++) step();
  return (performance.now() - start) / STEPS / 1000;
}

/** Everything a method may ask for, of random numbers. */
function anyOld({ batch, dim, classes }: Workload): OldModelInputs {
  const unit = (rows: number): Tensor => keep(scope(() => normalizeRows(rand([rows, dim]))));
  const oldPrototypes = unit(classes);
  const constants = {
    oldPrototypes,
    oldBoundaries: {
      centres: keep(scope(() => mul(oldPrototypes, 0.8))),
      radii: keep(scope(() => mul(ones([classes]), 0.5))),
      several: keep(ones([classes])),
    },
  } as unknown as OldModelConstants;
  const ofBatch = { oldEmbedding: unit(batch), credible: Int32Array.from({ length: batch }, (_, i) => i) };
  return { ...noOldModelInputs, constants, forBatch: () => ({ ...constants, ...ofBatch }) as OldModelBatch };
}
