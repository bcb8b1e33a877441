import { Argument, type Command, Option } from 'commander';
import { UserError } from '../base/errors.ts';
import { formatCount, logLine } from '../base/progress.ts';
import { glyphSetNames } from '../data/glyphs/names.ts';
import type { GlyphSetName, WrittenPart } from '../data/index.ts';
import { command, group, print } from './context.ts';
import { numberOption, wholeOption } from './options.ts';

export function dataCommand(): Command {
  return group('data', 'fetch, import, split and describe data sets', 'mixbct data get k12')
    .addCommand(getCommand())
    .addCommand(importCommand())
    .addCommand(splitCommand())
    .addCommand(sampleCommand())
    .addCommand(infoCommand());
}

const PIXELS = 'a whole number of pixels';

function getCommand(): Command {
  return command(
    'get',
    'fetch a public data set and prepare it',
    'mixbct data get k12\nmixbct data get k55 --folder /data --side 64',
  )
    .addArgument(new Argument('<set>', 'which one').choices(glyphSetNames))
    .shared('folder')
    .addOption(wholeOption('--side <pixels>', 'side of an image', { least: 8, most: 512, called: PIXELS }, 32))
    .addOption(
      new Option('--levels <n>', 'JIS levels: 1 (2,965 characters) or 2 (6,355)').choices(['1', '2']).default('1'),
    )
    .shared('force')
    .action(async (name: GlyphSetName, options) => {
      const { fetchSet } = await import('../stages/get.ts');
      const result = await fetchSet(name, { ...options, levels: Number(options.levels) as 1 | 2 });
      const made = result.made ? sizeOf(result.made) : 'there already';
      print(options, result, `${result.prefix}: ${made}, images ${result.imageDigest}`);
    });
}

function importCommand(): Command {
  return command(
    'import',
    'write an image folder (class/instance.jpg) or an unsorted record set as a sorted record set',
    'mixbct data import photos/ --out data/photos/train',
  )
    .argument('<dataset>', 'folder, or prefix of a .rec and .idx')
    .requiredOption('--out <prefix>', 'prefix of the new .rec and .idx')
    .option('--no-check', 'do not decode each image first')
    .shared('skipBadImages', 'force')
    .action(async (path: string, options) => {
      const [{ describeEmptyClasses, importDataset, importResultLines }, { openInputDataset }] = await Promise.all([
        import('../data/index.ts'),
        import('../data/input-dataset.ts'),
      ]);
      using dataset = openInputDataset(path);
      const empty = describeEmptyClasses(dataset);
      if (empty) logLine(`${path}: ${empty}`);
      const imported = await importDataset(dataset, options.out, options);
      print(options, imported, [told([imported]), ...importResultLines(imported)].join('\n'));
    });
}

function splitCommand(): Command {
  return command(
    'split',
    'split a data set in two, by class or by data, or hold classes out for evaluation',
    'mixbct data split data/ms1m/train --by class --ratio 0.3\nmixbct data split data/k12/k12_32 --hold-out 600 --seed 1',
  )
    .argument('<dataset>', 'prefix of a .rec and .idx')
    .addOption(
      new Option('--by <what>', 'class: the first share of the classes; data: of each class').choices([
        'class',
        'data',
      ]),
    )
    .addOption(
      numberOption('--ratio <share>', 'share of the first part', { above: 0, below: 1, called: 'a share' }, 0.3),
    )
    .addOption(wholeOption('--hold-out <classes>', 'draw this many classes that no training may see', { least: 1 }))
    .option('--out <folder>', 'folder of the parts (default: beside the data set)')
    .shared('seed', 'force')
    .action(async (path: string, options) => {
      if ((options.by === undefined) === (options.holdOut === undefined))
        throw new UserError('wanted either --by class|data or --hold-out CLASSES');
      const [{ holdOutClasses }, { splitDataset }] = await Promise.all([
        import('../stages/hold-out.ts'),
        import('../stages/split.ts'),
      ]);
      const parts =
        options.by === undefined
          ? await holdOutClasses({ ...options, dataset: path, classes: options.holdOut })
          : await splitDataset({ ...options, dataset: path });
      print(options, parts, told(parts));
    });
}

function sampleCommand(): Command {
  return command(
    'sample',
    'draw some images of each class',
    'mixbct data sample data/k55/k55_32 --per-class 12 --seed 1',
  )
    .argument('<dataset>', 'folder, or prefix of a .rec and .idx')
    .addOption(
      wholeOption('--per-class <n>', 'images of each class; a class with fewer keeps all', {
        least: 1,
      }).makeOptionMandatory(),
    )
    .option('--out <folder>', 'folder of the sample (default: beside the data set)')
    .shared('seed', 'force')
    .action(async (path: string, options) => {
      const { drawSample } = await import('../stages/sample.ts');
      const written = await drawSample({ ...options, dataset: path });
      print(options, written, told([written]));
    });
}

const sizeOf = ({ images, classes }: Omit<WrittenPart, 'prefix'>): string =>
  `${formatCount(images, 'image')} of ${formatCount(classes, 'class', 'classes')}`;
const told = (parts: readonly WrittenPart[]): string =>
  parts.map((part) => `${part.prefix}: ${sizeOf(part)}`).join('\n');

function infoCommand(): Command {
  return command(
    'info',
    'count classes and images, and try to decode some of them',
    'mixbct data info data/k12/k12_32 --verify',
  )
    .argument('<dataset>', 'folder, or prefix of a .rec and .idx')
    .option('--verify', 'decode every image', false)
    .action(async (path: string, options) => {
      const [{ openInputDataset }, { datasetInfoLines, describeDataset }] = await Promise.all([
        import('../data/input-dataset.ts'),
        import('../data/dataset-info.ts'),
      ]);
      using dataset = openInputDataset(path);
      const info = await describeDataset(dataset, options);
      print(options, info, datasetInfoLines(info).join('\n'));
      if (info.bad.length > 0)
        throw new UserError(`${info.bad.length} of ${formatCount(info.decoded, 'image')} cannot be read`);
    });
}
