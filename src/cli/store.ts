import { stampText } from '../stores/stamp-text.ts';
import { command, group } from './context.ts';

const GALLERY = 'lancedb:./gallery#faces';

export const storeCommand = () =>
  group('store', 'create galleries in vector stores, and say which model their vectors are of')
    .example(`mixbct store load features/old ${GALLERY}`, `mixbct store stamp ${GALLERY} --model runs/old`)
    .addCommand(loadCommand())
    .addCommand(stampCommand())
    .addCommand(infoCommand());

const loadCommand = () =>
  command('load', 'create a gallery of a feature set: ids, vectors of length 1 and labels')
    .example(`mixbct store load features/old ${GALLERY} --data data/mine/gallery`)
    .argument('<features>', 'feature set')
    .argument('<url>', 'URL of a table that does not exist: lancedb:, postgres: or sqlite:')
    .option('--data <dataset>', 'keep its encoded images in the column image')
    .prints(async (features: string, url: string, options) => {
      const { loadGallery } = await import('../stages/galleries.ts');
      const loaded = await loadGallery({ features, url, data: options.data });
      return [loaded, `${loaded.url}: ${loaded.rows} rows, vectors of ${stampText(loaded.stamp)}`];
    });

const stampCommand = () =>
  command('stamp', 'write into a gallery which model, direction and preprocessing its vectors are of')
    .example(`mixbct store stamp ${GALLERY} --model runs/old`, `mixbct store stamp ${GALLERY} --features features/old`)
    .argument('<url>', 'URL of a gallery')
    .option('--model <run>', 'its vectors are those of this run')
    .option('--features <set>', 'its vectors are those of this feature set, with its adapter')
    .choiceOption(
      '--flip <how>',
      'of a run: none, or the mean over each image and its mirror',
      ['none', 'mean'],
      'none',
    )
    .option('--force', 'replace a stamp of another model', false)
    .prints(async (url: string, options) => {
      const { stampGallery } = await import('../stages/galleries.ts');
      const stamp = await stampGallery({ ...options, url });
      return [stamp, `vectors of ${stampText(stamp)}${stamp.normalised ? ', of length 1' : ''}`];
    });

const infoCommand = () =>
  command('info', 'say what is in a gallery, of which model, and in which phase of a migration')
    .example(`mixbct store info ${GALLERY}`)
    .argument('<url>', 'URL of a gallery')
    .prints(async (url: string) => {
      const { describeGallery, galleryText } = await import('../stages/galleries.ts');
      const info = await describeGallery(url);
      return [info, galleryText(info)];
    });
