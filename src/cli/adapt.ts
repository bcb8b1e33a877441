import { adapterMethods, methodText, resultText } from '../adapt/adapter-artifact.ts';
import { judges, metrics } from '../eval/metrics/index.ts';
import { adapterDirections } from '../features/feature-set-artifact.ts';
import { textTable } from '../report/terminal.ts';
import { command, group, missingOf } from './context.ts';
import { REQUIRED } from './options.ts';

export const adaptCommand = () =>
  group('adapt', 'map embeddings between models that were not trained compatibly')
    .example(
      'mixbct adapt fit --old features/old --new features/new --direction query --out adapters/query',
      'mixbct adapt apply adapters/query features/new-eval --out features/adapted-eval',
    )
    .addCommand(fitCommand())
    .addCommand(applyCommand());

const DIRECTIONS = 'query: new → old space, the gallery stays; gallery: old → new space';
const METRICS = metrics.filter((metric) => judges(metric, 'labelled set')).map(({ name }) => name);

const fitCommand = () =>
  command('fit', 'fit an adapter by features of the same images, and write it if it beats the old model')
    .example(
      'mixbct adapt fit --old features/old --new features/new --direction gallery --metric rank-1 --out adapters/gallery',
    )
    .requiredOption('--old <features>', "the old model's feature set")
    .requiredOption('--new <features>', "the new model's feature set of the same images")
    .choiceOption('--direction <which>', DIRECTIONS, adapterDirections, REQUIRED)
    .requiredOption('--out <folder>', 'folder of the adapter')
    .choiceOption('--metric <name>', 'what to choose by, on held-out identities', METRICS, 'TAR@FAR=1e-3')
    .listOption('--candidates <list>', 'maps to try (default: all that fit)', adapterMethods)
    .option('--blend', 'go part of the way (SLERP) from queries of a compatibly trained model to adapted ones', false)
    .shared('resamples', 'threads', 'seed')
    .option('--force', 'replace what stands at the output; write an adapter that does not beat the old model', false)
    .computes(async (options) => {
      const { writeAdapter } = await import('../stages/adapt.ts');
      const info = await writeAdapter({ ...options, allowWorse: options.force });
      const { old, candidates } = info.chosenBy;
      const number = (x: number): string => x.toFixed(4);
      const rows = candidates.map(({ value, difference: { value: gain, low, high }, ...how }) => [
        methodText(how),
        number(value),
        number(gain),
        `${number(low)} … ${number(high)}`,
      ]);
      const header = [`${info.metric}, held out`, 'value', 'difference', '95 % interval'];
      const table = textTable(header, [['none (old → old)', number(old), '', ''], ...rows]);
      return [
        info,
        `${table}\n${options.out}: ${methodText(info)} for the ${info.direction}, ${info.metric} ${resultText(info.test)}`,
      ];
    });

const MAPPED = 'new for the query, old for the gallery';

const applyCommand = () =>
  command('apply', 'write a feature set, or a file of mixbct embed, mapped by an adapter')
    .example('mixbct adapt apply adapters/query features/new-eval --out features/adapted-eval')
    .argument('<adapter>', 'folder of an adapter')
    .argument('<features>', `of the model that the adapter maps (${MAPPED}): a feature set, or a .npy of mixbct embed`)
    .requiredOption('--out <path>', 'folder of the feature set, or file: .npy, .jsonl or .parquet')
    .shared('threads', 'force')
    .computes(async (adapter: string, features: string, options) => {
      const { applyAdapterTo } = await import('../stages/adapt-embeddings.ts');
      const info = await applyAdapterTo({ ...options, adapter, features });
      const missing = 'missing' in info ? missingOf(info) : '';
      return [info, `${options.out}: ${info.count} embeddings of ${info.dim} dimensions${missing}`];
    });
