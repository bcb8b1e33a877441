import { adapterMethods } from '../adapt/adapter-artifact.ts';
import { UserError } from '../base/errors.ts';
import { adapterDirections } from '../features/feature-set-artifact.ts';
import { renderChain } from '../plan/chain-text.ts';
import { planMetrics } from '../plan/evidence.ts';
import { acceptable, vectorTypes } from '../plan/plan-artifact.ts';
import { renderPlan } from '../plan/plan-text.ts';
import { command, type ResultCommand, useThreads } from './context.ts';

const SHARE = { least: 0, most: 1 } as const;
const LOSS = 'how far the metric may fall below the old model on the way';
const REQUIRE = 'ways to choose from; exit code 1 if none of them is proven';
const CHAIN = 'in place of evaluations: feature sets of one evaluation set by generations of models, the oldest first';
const ADAPT = 'with --chain: compare chained adapters with refitted ones, for the query or the gallery';

export const planCommand = () => {
  const plan = command(
    'plan',
    'draw one verdict on an upgrade from measured evidence, or compare generations of models',
  )
    .example(
      'mixbct plan runs/evaluation --gallery-size 1000000 --images-per-second 400 --max-hours 48',
      'mixbct plan runs/evaluation --require deploy,keep --json',
      'mixbct plan --chain 2022=features/a 2024=features/b 2026=features/c --adapt gallery',
    )
    .argument('[evaluations...]', 'folder of an evaluation; several, if they judge other new models by the same set')
    .repeatedOption('--backfill <simulation>', 'folder of a simulated backfill')
    .choiceOption('--metric <name>', 'what is judged by', planMetrics, 'TAR@FAR=1e-3')
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
    .option('--chain <name=features...>', CHAIN)
    .choiceOption('--adapt <direction>', ADAPT, adapterDirections)
    .listOption('--candidates <list>', 'with --adapt: maps to try', adapterMethods)
    .option('--out <folder>', 'write the result there')
    .batchSizeOption(256)
    .shared('workers', 'resamples', 'threads', 'seed', 'force');
  return plan.prints(async (evaluations: readonly string[], options) => {
    requireOneMode(plan, evaluations);
    if (options.chain) {
      const { planChain } = await import('../stages/plan-chain.ts');
      await useThreads(options.threads);
      const chain = await planChain({ ...options, chain: options.chain.map(generation) });
      return [chain, renderChain(chain)];
    }
    const { planUpgrade } = await import('../stages/plan.ts');
    const imagesPerSecond = options.measure || options.data ? () => measuredRate(options) : options.imagesPerSecond;
    const { backfill: backfills, require: accept, ...given } = options;
    const made = await planUpgrade({ ...given, evaluations, backfills, imagesPerSecond, accept });
    if (!made.verdict.accepted) process.exitCode = 1;
    return [made, renderPlan(made)];
  });
};

function generation(text: string): { readonly name: string; readonly features: string } {
  const [, name, features] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (name === undefined || features === undefined) throw new UserError(`--chain ${text}: wanted name=folder`);
  return { name, features };
}

const OF_CHAINS = ['adapt', 'candidates', 'seed', 'resamples'];
const OF_BOTH = ['chain', 'metric', 'out', 'threads', 'force', 'json'];

/** @throws UserError if there are neither evaluations nor a chain, both, or an option that belongs to the other one. */
function requireOneMode(plan: ResultCommand, evaluations: readonly string[]): void {
  const given = plan.options.filter((option) => plan.getOptionValueSource(option.attributeName()) === 'cli');
  const chained = given.some(({ long }) => long === '--chain');
  if (chained === evaluations.length > 0)
    throw new UserError(
      `wanted ${chained ? 'either evaluations or --chain' : 'the folder of an evaluation, or --chain'}`,
    );
  const foreign = given.find((option) => {
    const name = option.attributeName();
    return !OF_BOTH.includes(name) && OF_CHAINS.includes(name) !== chained;
  });
  if (foreign) throw new UserError(`${foreign.long} belongs to ${chained ? 'evaluations' : '--chain'}`);
}

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
