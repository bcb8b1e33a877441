import { lstatSync } from 'node:fs';
import { extname } from 'node:path';
import { readJson } from '../artifacts/json-file.ts';
import { claimOutput, type OutputKind, type OverwriteOptions, requireReplaceable } from '../artifacts/output-claim.ts';
import type { OutputLock } from '../artifacts/output-lock.ts';
import { UserError } from '../base/errors.ts';

/** Formats of files with embeddings, by their ending. */
export const embeddingFormats = ['.npy', '.jsonl', '.parquet'] as const;
export type EmbeddingFormat = (typeof embeddingFormats)[number];

/** `kind` of the description beside a file with embeddings. */
export const EMBEDDINGS = 'embeddings';

/** @throws UserError if a file has none of the endings that tell its format. */
export function formatOf(out: string): EmbeddingFormat {
  const format = embeddingFormats.find((ending) => ending === extname(out));
  if (format) return format;
  throw new UserError(`${out}: the ending of an output is its format, wanted ${embeddingFormats.join(', ')}`);
}

/** A file with embeddings and those beside it. */
export function embeddingFiles(out: string) {
  return {
    embeddings: out,
    /** Which model and options made them. */
    description: `${out}.json`,
    /** Of a .npy: the id of each row. */
    ids: out.replace(/\.npy$/, '.ids.jsonl'),
    /** Images that have no embedding, if any. */
    skipped: `${out}.skipped.jsonl`,
  };
}

const filesBeside = (out: string): string[] => Object.values(embeddingFiles(out)).filter((path) => path !== out);

/** `--force` knows all of them by the description. */
const outputKind = (out: string): OutputKind => ({
  description: 'a file of embeddings that mixbct embed wrote',
  matches: (path) => lstatSync(path).isFile() && isDescription(embeddingFiles(out).description),
});

function isDescription(path: string): boolean {
  try {
    return (readJson(path) as { readonly kind?: unknown } | null)?.kind === EMBEDDINGS;
  } catch {
    return false;
  }
}

/** Locks the embeddings at `out` and the files beside it, and checks that they may be written. @throws UserError as `claimOutput` */
export function claimEmbeddingFiles(out: string, { force = false, inputs = [] }: OverwriteOptions): OutputLock {
  const kind = outputKind(out);
  const lock = claimOutput(out, kind, { force, inputs });
  try {
    for (const path of filesBeside(out)) requireReplaceable(path, kind, { force: true, inputs });
    return lock;
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}
