import { type Command, Option } from 'commander';
import { type AdapterMethod, adapterMethods, resultText } from '../adapt/adapter-artifact.ts';
import { UserError } from '../base/errors.ts';
import { judges, metrics } from '../eval/metrics/index.ts';
import { adapterDirections } from '../features/feature-set-artifact.ts';
import { textTable } from '../report/terminal.ts';
import type { FitAdapterOptions } from '../stages/adapt.ts';
import { command, group, missingOf, print, useThreads } from './context.ts';

export function adaptCommand(): Command {
  return group(
    'adapt',
    'map embeddings between models that were not trained compatibly',
    'mixbct adapt fit --old features/old --new features/new --direction query --out adapters/query\nmixbct adapt apply adapters/query features/new-eval --out features/adapted-eval',
  )
    .addCommand(fitCommand())
    .addCommand(applyCommand());
}

function methodsOf(text: string): readonly AdapterMethod[] {
  const names = text.split(',');
  const unknown = names.find((name) => !(adapterMethods as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UserError(`--candidates ${text}: wanted some of ${adapterMethods.join(',')}`);
  return names as AdapterMethod[];
}

function fitCommand(): Command {
  return command(
    'fit',
    'fit an adapter by features of the same images, and write it if it beats the old model',
    'mixbct adapt fit --old features/old --new features/new --direction gallery --metric rank-1 --out adapters/gallery',
  )
    .requiredOption('--old <features>', "the old model's feature set")
    .requiredOption('--new <features>', "the new model's feature set of the same images")
    .addOption(
      new Option('--direction <which>', 'query: new → old space, the gallery stays; gallery: old → new space')
        .choices(adapterDirections)
        .makeOptionMandatory(),
    )
    .requiredOption('--out <folder>', 'folder of the adapter')
    .addOption(
      new Option('--metric <name>', 'what to choose by, on held-out identities')
        .choices(metrics.filter((metric) => judges(metric, 'labelled set')).map(({ name }) => name))
        .default('TAR@FAR=1e-3'),
    )
    .option(
      '--candidates <list>',
      `maps to try: some of ${adapterMethods.join(',')} (default: all that fit)`,
      methodsOf,
    )
    .shared('resamples', 'threads', 'seed')
    .option('--force', 'replace what stands at the output; write an adapter that does not beat the old model', false)
    .action(async (options: FitAdapterOptions & { readonly json: boolean; readonly threads: number }) => {
      const { writeAdapter } = await import('../stages/adapt.ts');
      await useThreads(options.threads);
      const info = await writeAdapter({ ...options, allowWorse: options.force === true });
      const number = (x: number): string => x.toFixed(4);
      const rows = info.chosenBy.candidates.map(({ method, value, difference: { value: gain, low, high } }) => [
        method,
        number(value),
        number(gain),
        `${number(low)} … ${number(high)}`,
      ]);
      const table = textTable(
        [`${info.metric}, held out`, 'value', 'difference', '95 % interval'],
        [['none (old → old)', number(info.chosenBy.old), '', ''], ...rows],
      );
      const verdict = `${options.out}: ${info.method} for the ${info.direction}, ${info.metric} ${resultText(info.test)}`;
      print(options, info, `${table}\n${verdict}`);
    });
}

function applyCommand(): Command {
  return command(
    'apply',
    'write a feature set mapped by an adapter',
    'mixbct adapt apply adapters/query features/new-eval --out features/adapted-eval',
  )
    .argument('<adapter>', 'folder of an adapter')
    .argument('<features>', 'feature set of the model that the adapter maps: new for the query, old for the gallery')
    .requiredOption('--out <folder>', 'folder of the feature set')
    .shared('threads', 'force')
    .action(async (adapter: string, features: string, options) => {
      const { applyAdapter } = await import('../stages/adapt.ts');
      await useThreads(options.threads);
      const info = await applyAdapter({ ...options, adapter, features });
      print(options, info, `${options.out}: ${info.count} embeddings of ${info.dim} dimensions${missingOf(info)}`);
    });
}
