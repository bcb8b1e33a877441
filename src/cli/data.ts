import { Argument } from 'commander';
import { UserError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import type { WrittenPart } from '../data/index.ts';
import { type PublicSetName, publicSetNames } from '../data/public-sets.ts';
import { command, group } from './context.ts';
import { REQUIRED } from './options.ts';

export const dataCommand = () =>
  group('data', 'fetch, import, split and describe data sets')
    .example('mixbct data get k12')
    .addCommand(getCommand())
    .addCommand(importCommand())
    .addCommand(splitCommand())
    .addCommand(sampleCommand())
    .addCommand(infoCommand());

const SIDE = { least: 8, most: 512, called: 'a whole number of pixels' };

const getCommand = () =>
  command('get', 'fetch a public data set and prepare it')
    .example('mixbct data get k12', 'mixbct data get e10', 'mixbct data get k55 --folder /data --side 64')
    .addArgument(new Argument('<set>', 'which one').choices(publicSetNames))
    .shared('folder')
    .wholeOption('--side <pixels>', 'side of an image', SIDE, 32)
    .choiceOption('--levels <n>', 'JIS levels of k12 and k55: 1 (2,965 characters) or 2 (6,355)', ['1', '2'], '1')
    .shared('force')
    .prints(async (name: PublicSetName, options) => {
      const { fetchSet } = await import('../stages/get.ts');
      const result = await fetchSet(name, { ...options, levels: Number(options.levels) as 1 | 2 });
      const made = result.made ? sizeOf(result.made) : 'there already';
      return [result, `${result.prefix}: ${made}, images ${result.imageDigest}`];
    });

const importCommand = () =>
  command('import', 'write an image folder (class/instance.jpg) or an unsorted record set as a sorted record set')
    .example('mixbct data import photos/ --out data/photos/train')
    .argument('<dataset>', 'folder, or prefix of a .rec and .idx')
    .requiredOption('--out <prefix>', 'prefix of the new .rec and .idx')
    .option('--no-check', 'do not decode each image first')
    .shared('skipBadImages', 'force')
    .prints(async (path: string, options) => {
      const { fromDataset } = await import('../stages/from-dataset.ts');
      return await fromDataset(path, async ({ importDataset, importResultLines }, dataset) => {
        const imported = await importDataset(dataset, options.out, options);
        return [imported, [told([imported]), ...importResultLines(imported)].join('\n')];
      });
    });

const splitCommand = () =>
  command('split', 'split a data set in two, by class or by data, or hold classes out for evaluation')
    .example(
      'mixbct data split data/ms1m/train --by class --ratio 0.3',
      'mixbct data split data/k12/k12_32 --hold-out 600 --seed 1',
    )
    .argument('<dataset>', 'folder, or prefix of a .rec and .idx')
    .choiceOption('--by <what>', 'class: the first share of the classes; data: of each class', ['class', 'data'])
    .numberOption('--ratio <share>', 'share of the first part', { above: 0, below: 1, called: 'a share' }, 0.3)
    .wholeOption('--hold-out <classes>', 'draw this many classes that no training may see', { least: 1 })
    .option('--out <folder>', 'folder of the parts (default: beside the data set)')
    .shared('seed', 'force')
    .prints(async (path: string, options) => {
      if ((options.by === undefined) === (options.holdOut === undefined))
        throw new UserError('wanted either --by class|data or --hold-out CLASSES');
      const [{ holdOutClasses }, { splitDataset }] = await Promise.all([
        import('../stages/hold-out.ts'),
        import('../stages/split.ts'),
      ]);
      const shared = { ...options, dataset: path };
      const parts = await (options.by ? splitDataset(shared) : holdOutClasses({ ...shared, classes: options.holdOut }));
      return [parts, told(parts)];
    });

const sampleCommand = () =>
  command('sample', 'draw some images of each class')
    .example('mixbct data sample data/k55/k55_32 --per-class 12 --seed 1')
    .argument('<dataset>', 'folder, or prefix of a .rec and .idx')
    .wholeOption('--per-class <n>', 'images of each class; a class with fewer keeps all', { least: 1 }, REQUIRED)
    .option('--out <folder>', 'folder of the sample (default: beside the data set)')
    .shared('seed', 'force')
    .prints(async (path: string, options) => {
      const { drawSample } = await import('../stages/sample.ts');
      const written = await drawSample({ ...options, dataset: path });
      return [written, told([written])];
    });

const sizeOf = ({ images, classes }: Omit<WrittenPart, 'prefix'>): string =>
  `${formatCount(images, 'image')} of ${formatCount(classes, 'class', 'classes')}`;
const told = (parts: readonly WrittenPart[]): string =>
  parts.map((part) => `${part.prefix}: ${sizeOf(part)}`).join('\n');

const infoCommand = () =>
  command('info', 'count classes and images, and try to decode some of them')
    .example('mixbct data info data/k12/k12_32 --verify')
    .argument('<dataset>', 'folder, or prefix of a .rec and .idx')
    .option('--verify', 'decode every image', false)
    .prints(async (path: string, options) => {
      const { datasetInfoLines, describeDataset } = await import('../data/dataset-info.ts');
      const { openInputDataset } = await import('../data/input-dataset.ts');
      using dataset = openInputDataset(path);
      const info = await describeDataset(dataset, options);
      const { bad, decoded } = info;
      const problem = bad.length > 0 && `${bad.length} of ${formatCount(decoded, 'image')} cannot be read`;
      return [info, datasetInfoLines(info).join('\n'), problem];
    });
