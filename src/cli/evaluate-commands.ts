import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { kindAt } from '../artifacts/manifest.ts';
import { UserError } from '../base/errors.ts';
import { pixelMappings } from '../data/pixels.ts';
import { SAMPLE_SIZES } from '../eval/defaults.ts';
import { renderTerminal, textTable } from '../report/terminal.ts';
import type { IjbOptions } from '../stages/evaluate-ijb.ts';
import type { PackOptions } from '../stages/evaluate-pack.ts';
import { asLaunched, command, group, print, useThreads } from './context.ts';
import { appendValue, batchSizeOption, numberOption, wholeOption } from './options.ts';

export function evaluateCommand(): Command {
  return group(
    'evaluate',
    'evaluate new models against the old one',
    'mixbct evaluate --old features/old-eval --new mixbct=features/mixbct-eval --out runs/evaluation\nmixbct evaluate ijb --data ijb --model runs/new --old runs/old --out runs/ijbc',
  )
    .addCommand(evaluateSetsCommand(), { isDefault: true })
    .addCommand(evaluateIjbCommand())
    .addCommand(evaluatePackCommand());
}

function evaluateSetsCommand(): Command {
  return command(
    'sets',
    'evaluate feature sets of classes that no model was trained on (the default)',
    'mixbct evaluate --old features/old-eval --oracle features/oracle-eval --new mixbct=features/mixbct-eval --out runs/evaluation',
  )
    .requiredOption('--old <features>', "the old model's feature set")
    .option('--oracle <features>', 'feature set of a new model trained without the old one')
    .option(
      '--new <name=features>',
      'feature set of a new model; own,old if it has a projection; features+adapter or features,adapted through an adapter; may be repeated',
      appendValue,
      [],
    )
    .requiredOption('--out <folder>', 'folder for evaluation.json, report.html and report.md')
    .option('--figures', 'write each curve of the report as an SVG and a PNG file, too', false)
    .option('--title <text>', 'title of the report', 'Backward compatibility')
    .addOption(mostDrawn('--genuines <n>', 'genuine pairs to compare', SAMPLE_SIZES.genuines))
    .addOption(mostDrawn('--impostors <n>', 'impostor pairs to compare', SAMPLE_SIZES.impostors))
    .addOption(mostDrawn('--probes <n>', 'probes to search with', SAMPLE_SIZES.probes))
    .addOption(
      numberOption('--memory <GB>', 'memory that the evaluation may take (default: a quarter of the machine)', {
        above: 0,
        most: 1e6,
      }),
    )
    .shared('resamples', 'maxZeroShare', 'seed', 'force')
    .action(async (options) => {
      const candidates = (options.new as string[]).map((text) => {
        const [, name, path, inOldSpace] = /^([^=]+)=([^,]+)(?:,([^,]+))?$/.exec(text) ?? [];
        if (name === undefined || path === undefined) throw new UserError(`--new ${text}: wanted name=folder`);
        const plus = path.lastIndexOf('+');
        const adapter = path.slice(plus + 1);
        if (plus < 0 || kindAt(adapter) !== 'adapter')
          return { name, features: path, ...(inOldSpace !== undefined && { inOldSpace }) };
        if (inOldSpace !== undefined)
          throw new UserError(`--new ${text}: wanted an adapter or a second feature set, not both`);
        return { name, features: path.slice(0, plus), adapter };
      });
      if (candidates.length === 0 && options.oracle === undefined)
        throw new UserError('nothing to judge: wanted --new name=features (once or more) or --oracle');
      const { evaluateSets } = await import('../stages/evaluate-sets.ts');
      const { memory, ...rest } = options;
      const evaluation = await evaluateSets({ ...rest, candidates, ...(memory && { memoryBytes: memory * 1e9 }) });
      print(options, evaluation, `${renderTerminal(evaluation)}\nreport: ${join(options.out, 'report.html')}`);
    });
}

/** How much of a labelled set is compared. */
const mostDrawn = (flags: string, about: string, fallback: number): Option =>
  wholeOption(flags, `${about}; if there are more, a random draw`, { least: 1, most: 1_000_000_000 }, fallback);

const pixels = (): Option =>
  new Option(
    '--pixels <map>',
    'train: as in training, (x - 127.5) / 127.5 unless a model declares another; ijb: / 128, as the published numbers were made',
  )
    .choices(Object.keys(pixelMappings))
    .default('train');

const PROTOCOLS = ['11', '1N'] as const;

function protocols(text: string): readonly string[] {
  const wanted = text.split(',');
  const unknown = wanted.find((name) => !(PROTOCOLS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UserError(`--protocol ${text}: wanted 11, 1N or 11,1N`);
  return wanted;
}

function evaluateIjbCommand(): Command {
  return command(
    'ijb',
    'evaluate models on IJB-C or IJB-B: 1:1 and 1:N, each on its own and on the old gallery',
    'mixbct evaluate ijb --data ijb --model runs/new1 --model runs/new2 --old runs/old --protocol 11,1N --out runs/ijbc',
  )
    .requiredOption('--data <folder>', 'folder that holds IJBC/ or IJBB/, with loose_crop/ and meta/')
    .addOption(new Option('--subset <name>', 'which benchmark').choices(['IJBC', 'IJBB']).default('IJBC'))
    .requiredOption(
      '--model <[name=]run>',
      'a model to judge: folder of a run, or of a feature set of the benchmark; may be repeated',
      appendValue,
      [],
    )
    .option('--old <[name=]run>', 'the model of the old gallery')
    .option('--oracle <[name=]run>', 'a new model trained without the old one')
    .option('--protocol <list>', '11, 1N or both', protocols, PROTOCOLS)
    .option('--features <folder>', 'where each model’s features are kept for later evaluations', 'features/ijb')
    .addOption(pixels())
    .requiredOption('--out <folder>', 'folder for evaluation.json, report.html and report.md')
    .option('--scores', 'write the scores of all pairs as .npz, too', false)
    .option('--figures', 'write each curve of the report as an SVG and a PNG file, too', false)
    .shared('resamples', 'maxZeroShare')
    .addOption(batchSizeOption(128))
    .shared('workers', 'threads', 'device', 'seed', 'resume', 'force')
    .action(async (options: IjbOptions & { readonly json: boolean }) => {
      if (options.model.length === 0) throw new UserError('nothing to judge: wanted --model run, once or more');
      const { evaluateIjb } = await import('../stages/evaluate-ijb.ts');
      const evaluation = await asLaunched(options, (joined) => evaluateIjb({ ...options, joined }));
      if (evaluation)
        print(options, evaluation, `${renderTerminal(evaluation)}\nreport: ${join(options.out, 'report.html')}`);
    });
}

function evaluatePackCommand(): Command {
  return command(
    'pack',
    'evaluate models on verification packs such as lfw.bin: accuracy in ten folds',
    'mixbct evaluate pack --pack packs/lfw.bin --pack packs/cfp_fp.bin --model runs/new --old runs/old',
  )
    .requiredOption('--pack <file>', 'a .bin of encoded images and labels; may be repeated', appendValue, [])
    .requiredOption('--model <[name=]run>', 'a model to judge; may be repeated', appendValue, [])
    .option('--old <[name=]run>', 'the model of the old gallery: the first picture of each pair')
    .option('--out <folder>', 'write accuracy.json with every fold there')
    .addOption(pixels())
    .shared('maxZeroShare')
    .addOption(batchSizeOption(128))
    .shared('workers', 'threads', 'resume', 'force')
    .action(async (options: PackOptions & { readonly json: boolean }) => {
      if (options.pack.length === 0 || options.model.length === 0)
        throw new UserError('nothing to judge: wanted --pack file and --model run, each once or more');
      const { evaluatePacks } = await import('../stages/evaluate-pack.ts');
      await useThreads(options.threads);
      const results = await evaluatePacks(options);
      const percent = (x: number): string => (100 * x).toFixed(2);
      const rows = results.map(({ pack, query, gallery, mean, std, meanNorm, zeros }) => [
        pack,
        `${query} → ${gallery}`,
        `${percent(mean)} ± ${percent(std)}`,
        meanNorm.toFixed(2),
        `${zeros}`,
      ]);
      print(options, results, textTable(['pack', 'query → gallery', 'accuracy ± std', 'mean norm', 'zeros'], rows));
    });
}
