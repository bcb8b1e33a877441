import { UserError } from '../base/errors.ts';
import { planMetrics } from '../plan/evidence.ts';
import { acceptable, vectorTypes } from '../plan/plan-artifact.ts';
import { renderPlan } from '../plan/plan-text.ts';
import { command, useThreads } from './context.ts';

const SHARE = { least: 0, most: 1 } as const;
const LOSS = 'how far the metric may fall below the old model on the way';
const REQUIRE = `ways to choose from, some of ${acceptable.join(',')}; exit code 1 if none of them is proven`;

export const planCommand = () =>
  command('plan', 'draw one verdict on an upgrade from measured evidence')
    .example(
      'mixbct plan runs/evaluation --gallery-size 1000000 --images-per-second 400 --max-hours 48',
      'mixbct plan runs/evaluation --require deploy,keep --json',
    )
    .argument('<evaluations...>', 'folder of an evaluation; several, if they judge other new models by the same set')
    .choiceOption('--metric <name>', 'what ways are judged by', planMetrics, 'TAR@FAR=1e-3')
    .option('--gallery <features>', 'feature set of the gallery: its size and type')
    .wholeOption('--gallery-size <n>', 'vectors in the gallery', { least: 1, most: 1e12 })
    .choiceOption('--vector-type <type>', 'of the gallery (default: its own, or float32)', Object.keys(vectorTypes))
    .numberOption('--images-per-second <n>', 'rate of extraction', { above: 0, most: 1e9 })
    .option('--measure <run>', 'measure the rate of extraction with this run, for ten seconds on --data')
    .option('--data <dataset>', 'images to measure with')
    .numberOption('--min-gain <share>', 'a gain that is not larger does not count', SHARE, 0)
    .numberOption('--max-loss <share>', LOSS, SHARE, 0)
    .numberOption('--max-hours <n>', 'hours that re-embedding may take', { least: 0, most: 1e9 })
    .listOption('--require <ways>', REQUIRE, acceptable, acceptable)
    .option('--out <folder>', 'write the plan there')
    .batchSizeOption(256)
    .shared('workers', 'threads', 'force')
    .prints(async (evaluations: readonly string[], options) => {
      const { planUpgrade } = await import('../stages/plan.ts');
      const imagesPerSecond = options.measure || options.data ? await measuredRate(options) : options.imagesPerSecond;
      const plan = await planUpgrade({ ...options, imagesPerSecond, evaluations, accept: options.require });
      if (!plan.verdict.accepted) process.exitCode = 1;
      return [plan, renderPlan(plan)];
    });

type RateOptions = {
  readonly measure?: string;
  readonly data?: string;
  readonly imagesPerSecond?: number;
  readonly threads: number;
  readonly batchSize: number;
  readonly workers: number;
};

async function measuredRate({ measure: model, data: dataset, imagesPerSecond, threads, ...how }: RateOptions) {
  if (model === undefined || dataset === undefined)
    throw new UserError('--measure and --data belong together: a run, and images to measure with');
  if (imagesPerSecond !== undefined) throw new UserError('--measure and --images-per-second: wanted one of both');
  const { measureExtractionRate } = await import('../stages/extraction-rate.ts');
  await useThreads(threads);
  return await measureExtractionRate({ ...how, model, dataset });
}
