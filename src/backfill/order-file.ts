import { fileDigest } from '../artifacts/digest.ts';
import { type IdList, readIds, writeIds } from '../artifacts/id-list.ts';
import { FileError, UserError } from '../base/errors.ts';
import { readNpy, writeNpy } from '../features/npy.ts';
import { type BackfillInfo, backfillArtifact, backfillFiles } from './backfill-artifact.ts';
import { type BackfillOrderName, needsOfOrder } from './simulation.ts';

/** An order in which the rows of a gallery are moved to the new model. */
export type BackfillOrder = {
  readonly name: BackfillOrderName;
  /** Positions in the simulated feature sets, the first to move first. Rows without an embedding by both models are not among them. */
  readonly rows: Int32Array;
  /** Names of all rows of the feature sets, by position; null if they have none. */
  readonly ids: IdList | null;
  /** What the simulation was made from: models, dimensions, digests. */
  readonly info: BackfillInfo;
};

/** Writes the rows of an order into the folder of a simulation. → its entry in the manifest */
export function writeOrder(folder: string, name: BackfillOrderName, rows: Int32Array): BackfillInfo['orders'][number] {
  const path = backfillFiles(folder).order(name);
  writeNpy(path, '<i4', rows);
  return { name, needs: [...needsOfOrder[name]], digest: fileDigest(path) };
}

/** Writes the names of all rows of the feature sets, by position. */
export const writeOrderIds = (folder: string, ids: Iterable<string>): void => writeIds(backfillFiles(folder).ids, ids);

/**
 * Reads an order from the folder of a simulation.
 * @throws UserError if the simulation has no such order; FileError if the folder is no simulation, or a file is damaged.
 */
export function openBackfillOrder(folder: string, name: string): BackfillOrder {
  const info = backfillArtifact.open(folder);
  const order = info.orders.find((one) => one.name === name);
  if (!order)
    throw new UserError(
      `${folder} has no order ${name}, wanted one of ${info.orders.map((one) => one.name).join(', ')}`,
    );
  backfillArtifact.verify(folder, info);
  const path = backfillFiles(folder).order(name);
  const { data: rows, shape } = readNpy(path, ['<i4']);
  const { again } = backfillArtifact;
  if (shape.length !== 1 || rows.length !== info.rows)
    throw new FileError(path, `has shape [${shape.join(', ')}], the manifest says [${info.rows}]`, again);
  const seen = new Uint8Array(info.count);
  for (const row of rows) {
    if (!(row >= 0 && row < info.count) || seen[row])
      throw new FileError(path, `names row ${row}, wanted each of 0 … ${info.count - 1} at most once`, again);
    seen[row] = 1;
  }
  return { name: order.name, rows, ids: info.ids ? readIds(backfillFiles(folder).ids, info.count) : null, info };
}
