import { join } from 'node:path';
import { z } from 'zod';
import { checkedBySchema, defineArtifact } from '../artifacts/define-artifact.ts';
import { readJson } from '../artifacts/json-file.ts';

const model = z.object({ name: z.string(), digest: z.string() });
const fields = z.object({ from: model, to: model, rows: z.int().nonnegative(), digest: z.string(), url: z.string().optional() }); // biome-ignore format: short

/** How searches for rows of the gallery ended: a row never finds itself. */
export type SearchCounts = {
  /** The best hit above the threshold is of the query's class. */
  readonly right: number;
  readonly wrong: number;
  /** No hit is above the threshold. */
  readonly none: number;
};

/** Queries of a model at a moment; null: no evaluation allows them there. */
export type SearchesAt = {
  readonly old: SearchCounts | null;
  readonly new: SearchCounts | null;
  /** Those of the new model are null because the evaluation has no verdict on them. */
  readonly withheld?: true;
};

/** What a roll-out has done so far: a step that is there is done. */
export type RollOut = {
  readonly loaded?: { readonly rows: number };
  readonly before?: SearchesAt;
  readonly moved?: { readonly rows: number };
  readonly during?: SearchesAt;
  /** All rows are moved; `remade` new vectors were made again, and came out the same. */
  readonly verified?: { readonly rows: number; readonly remade: number };
  readonly cutOver?: true;
  readonly after?: SearchesAt;
};

const FILE = 'roll-out.json';

/** What a roll-out keeps; the gallery is a folder of tables, if no URL names another place; the thresholds are those of `mixbct thresholds`. */
export const rollOutFiles = (folder: string) => ({
  progress: join(folder, FILE),
  thresholds: join(folder, 'thresholds.json'),
  order: join(folder, 'order.jsonl'),
  /** There while the gallery is loaded. */
  loading: join(folder, 'loading'),
  gallery: join(folder, 'gallery'),
});

/** URL of the gallery that a roll-out keeps in its folder. */
export const rollOutUrl = (folder: string): string => `lancedb:${rollOutFiles(folder).gallery}#gallery`;

export const rollOutArtifact = defineArtifact<z.infer<typeof fields>>({
  kind: 'roll-out',
  name: 'a gallery that was rolled out',
  command: 'mixbct run experiments/roll-out.yaml',
  check: checkedBySchema(fields),
  describe: ({ from, to, rows, url }, path) => {
    const { before, during, after } = readJson(rollOutFiles(path).progress) as RollOut;
    return {
      facts: {
        gallery: url ?? rollOutUrl(path),
        rows: `${rows}, moved from ${from.name} to ${to.name}, cut over; the old vectors are kept`,
        before: searchesText(before!),
        during: searchesText(during!),
        after: searchesText(after!),
      },
      sources: [],
    };
  },
  digests: ({ digest }) => ({ [FILE]: digest }),
});

/** Searches for a person. */
export function searchesText(at: SearchesAt): string {
  const texts = (['old', 'new'] as const).flatMap((query) => {
    const counts = at[query];
    return counts ? [`queries of the ${query} model: ${counts.right} right, ${counts.wrong} wrong, ${counts.none} below the threshold`] : []; // biome-ignore format: short
  });
  if (at.withheld) texts.push('no queries of the new model: the evaluation has no verdict on them');
  return texts.join('; ') || 'no queries, the evaluation allows none on what is there';
}
