import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { FileError, optionHint } from '../base/errors.ts';
import { positionsIn } from '../base/large-map.ts';
import { progressIfLong } from '../base/progress.ts';
import type { Dataset } from '../data/index.ts';
import { ForeignNpy } from './foreign-npy.ts';
import { firstFew } from './id-file.ts';
import type { MissingRow } from './missing-rows.ts';
import { NpyWriter } from './npy.ts';

/** The row of an imported array for each row of the feature set. */
export type RowOrder = {
  /** [N]; -1 for a row that is missing. */
  readonly rows: Int32Array;
  /** Whether both orders are equal. */
  readonly inOrder: boolean;
  readonly missing: readonly MissingRow[];
};

export const unchangedOrder = (count: number): RowOrder => ({
  rows: Int32Array.from({ length: count }, (_, i) => i),
  inOrder: true,
  missing: [],
});

/**
 * Matches rows to a dataset's images by id.
 * @throws FileError naming ids that only one side has; with `allowMissing` the dataset may have more.
 */
export function orderById(
  { path, ids }: { readonly path: string; readonly ids: readonly string[] },
  dataset: Dataset,
  allowMissing: boolean,
): RowOrder {
  const place = positionsIn(ids);
  const rows = new Int32Array(dataset.size);
  const missing: MissingRow[] = [];
  const used = new Uint8Array(ids.length);
  for (let i = 0; i < dataset.size; i++) {
    const id = dataset.id(i);
    const row = place.get(id) ?? -1;
    rows[i] = row;
    if (row < 0) missing.push({ row: i, id, problem: 'its id is not among the imported ones' });
    else if (used[row]!++ > 0)
      throw new FileError(
        dataset.path,
        `has two images called ${id}`,
        optionHint('leave --ids out and bring the rows in its order'),
      );
  }
  const unknown = ids.filter((_, row) => used[row] === 0);
  if (unknown.length > 0)
    throw new FileError(
      path,
      `${unknown.length} of ${ids.length} ids are of no image of ${dataset.path}: ${firstFew(unknown)}`,
      `its images are called like this: ${dataset.id(0)}`,
    );
  if (missing.length > 0 && !allowMissing)
    throw new FileError(
      path,
      `has no id for ${missing.length} of ${dataset.size} images of ${dataset.path}: ${firstFew(missing.map(({ id }) => id))}`,
      optionHint('pass --allow-missing to mark their rows as missing'),
    );
  return { rows, inOrder: rows.length === ids.length && rows.every((row, i) => row === i), missing };
}

type Target = {
  /** Rows converted at a time. */
  readonly chunk: number;
  /** For a file that is removed again. */
  readonly directory: string;
  readonly append: (rows: Float32Array) => void;
};

/** Appends the rows of an array in a row order, zeros for missing ones. */
export function appendInOrder(file: ForeignNpy, { rows, inOrder }: RowOrder, target: Target): void {
  const [count, dim] = file.shape as [number, number];
  const { chunk, directory } = target;
  const bar = progressIfLong('import', inOrder ? count : rows.length);
  let appended = 0;
  const append = (block: Float32Array): void => {
    target.append(block);
    appended += block.length / dim;
    bar.update(appended);
  };
  if (inOrder) {
    for (let from = 0; from < count; from += chunk) append(file.rows(from, Math.min(chunk, count - from)));
    bar.stop();
    return;
  }
  if (file.fortran) {
    // the numbers of a row are scattered over the file: write them in C order first
    const path = join(directory, 'rows.npy');
    const writer = new NpyWriter(path, '<f4', [dim]);
    try {
      appendInOrder(file, unchangedOrder(count), { ...target, append: (block) => writer.append(block) });
    } finally {
      writer.close();
    }
    using together = new ForeignNpy(path);
    appendInOrder(together, { rows, inOrder, missing: [] }, target);
    rmSync(path);
    return;
  }
  for (let from = 0; from < rows.length; from += chunk) {
    const part = rows.subarray(from, from + chunk);
    const block = new Float32Array(part.length * dim);
    for (let i = 0; i < part.length; ) {
      let run = 1;
      while (i + run < part.length && part[i + run] === part[i]! + run) run++;
      if (part[i]! < 0) run = 1;
      else block.set(file.rows(part[i]!, run), i * dim);
      i += run;
    }
    append(block);
  }
  bar.stop();
}
