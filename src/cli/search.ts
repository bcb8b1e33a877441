import { UserError } from '../base/errors.ts';
import { textTable } from '../report/terminal.ts';
import type { QueryHits } from '../stages/search.ts';
import { command } from './context.ts';

export const searchCommand = () =>
  command('search', 'search a gallery with images or features, by the model that its vectors are of')
    .example(
      'mixbct search lancedb:./gallery#faces photo.jpg --model runs/new --thresholds thresholds.json',
      'mixbct search lancedb:./gallery#faces --features features/new --rows 0,7 --adapter adapters/query',
    )
    .argument('<url>', 'URL of a gallery that is stamped')
    .argument('[images...]', 'images to search for, embedded by --model')
    .option('--model <run>', 'run that embeds the images')
    .option('--features <set>', 'search for the rows of a feature set')
    .option('--rows <list>', 'of the feature set only these rows, such as 0,7 (default: all)', rowsOf)
    .option('--adapter <adapter>', 'adapter for the query, if the gallery is of an older model')
    .option(
      '--thresholds <file>',
      'file of mixbct thresholds: shows that two models can be compared, drops hits below its threshold, merges by its calibrations',
    )
    .wholeOption('--k <n>', 'hits of each query', { least: 1, most: 10_000 }, 10)
    .option('--fields <list>', 'columns to show, with commas between them', (text) => text.split(','))
    .shared('threads', 'device')
    .computes(async (url: string, images: readonly string[], options) => {
      const { searchGallery } = await import('../stages/search.ts');
      const found = await searchGallery({ ...options, url, images });
      return [found, hitsText(found)];
    });

function rowsOf(text: string): number[] {
  if (!/^\d{1,10}(,\d{1,10})*$/.test(text))
    throw new UserError(`--rows ${text.slice(0, 40)}: wanted numbers of rows, such as 0,7`);
  return text.split(',').map(Number);
}

function hitsText(found: readonly QueryHits[]): string {
  const named = Object.keys(found.flatMap(({ hits }) => hits)[0]?.fields ?? {});
  const rows = found.flatMap(({ query, hits }) =>
    hits.length === 0
      ? [[query, 'none', '', '', '', ...named.map(() => '')]]
      : hits.map(({ id, score, logOdds, of, fields }, i) => [
          i === 0 ? query : '',
          ...[id, score.toFixed(4), logOdds === null ? '–' : logOdds.toFixed(2), of],
          ...named.map((name) => String(fields[name] ?? '')),
        ]),
  );
  return textTable(['query', 'id', 'cosine', 'log-odds', 'vectors of', ...named], rows);
}
