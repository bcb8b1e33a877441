import { existsSync, rmSync } from 'node:fs';
import { z } from 'zod';
import { writeIds } from '../artifacts/id-list.ts';
import { readJson, writeJson } from '../artifacts/json-file.ts';
import { FileError } from '../base/errors.ts';
import { sidecarOriginSchema } from './lineage.ts';

const sidecarSchema = z.strictObject({
  format: z.literal('mixbct-dataset'),
  version: z.literal(1),
  /** Name of each class, by id. */
  classes: z.array(z.string()).optional(),
  /** Name of each family (one photographer, one typeface, …), by id: genuine pairs are drawn across families. */
  families: z.array(z.string()).optional(),
  note: z.string().optional(),
  /** Digest of the decoded images, where the maker pins it. */
  imageDigest: z.string().optional(),
  /** The dataset that this one is a part of. */
  origin: sidecarOriginSchema.optional(),
});

/**
 * The content of `<prefix>.json` beside a record set: what RecordIO cannot hold. Where it names families, the second
 * label of each record is a family id; otherwise that label is ignored (methods.md 1.2).
 */
export type Sidecar = Omit<z.infer<typeof sidecarSchema>, 'format' | 'version'>;

/** Family of a sample whose family is unknown: it counts as a family of its own. */
export const NO_FAMILY = -1;

export const sidecarPath = (prefix: string): string => `${prefix}.json`;

/** The file with the ids that the images of a record set had before the import (`id-list.ts`). */
export const idsPath = (prefix: string): string => `${prefix}.ids.jsonl`;

export function readSidecar(prefix: string): Sidecar {
  const path = sidecarPath(prefix);
  if (!existsSync(path)) return {};
  const result = sidecarSchema.safeParse(readJson(path));
  if (!result.success)
    throw new FileError(
      path,
      `is not the description of a dataset: ${z.prettifyError(result.error)}`,
      'move it away if it belongs to something else',
    );
  const { format: _, version: __, ...sidecar } = result.data;
  return sidecar;
}

/** Writes the description of a record set, and the ids of its images. Without ids, the file of an older set is removed. */
export function writeSidecar(prefix: string, sidecar: Sidecar, ids?: Iterable<string>): void {
  if (ids) writeIds(idsPath(prefix), ids);
  else rmSync(idsPath(prefix), { force: true });
  writeJson(sidecarPath(prefix), { format: 'mixbct-dataset', version: 1, ...sidecar });
}
