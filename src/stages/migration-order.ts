import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileDigest } from '../artifacts/digest.ts';
import { backfillFiles } from '../backfill/backfill-artifact.ts';
import { openBackfillOrder } from '../backfill/order-file.ts';
import { UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import { readIdFile } from '../features/id-file.ts';
import type { Stamp } from '../stores/stamp.ts';

/** The order in which the rows of a gallery are moved. */
export type OrderFile = { readonly path: string; readonly digest: string; readonly keys: Iterable<string> };

/** The models of a migration. */
type Models = { readonly from: Stamp; readonly to: Stamp };

/**
 * Opens an order: `FOLDER:NAME` of a simulation of the backfill, or a file of ids, the first to move first, one a line or in a
 * `.jsonl` one JSON string a line.
 * @throws UserError if it is of a simulation with other models; FileError
 */
export function openOrder(path: string | undefined, models: Models): OrderFile | null {
  if (path === undefined) return null;
  const [, folder, name] = /^(.+):([^:/]+)$/.exec(path) ?? [];
  if (folder !== undefined && name !== undefined && statSync(folder, { throwIfNoEntry: false })?.isDirectory())
    return ofSimulation(folder, name, models);
  return { path: resolve(path), digest: fileDigest(path), keys: readIdFile(path) };
}

/**
 * Opens the order that a migration began with. An order is a wish: without the file that it was, rows are moved in the order of the
 * store, and a line of news says so.
 */
function reopenOrder(began: Pick<OrderFile, 'path' | 'digest'> | null, models: Models): OrderFile | null {
  if (began === null) return null;
  let problem = 'has changed since the migration began';
  try {
    const order = openOrder(began.path, models);
    if (order?.digest === began.digest) return order;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    problem = `cannot be read any more (${error.message.split('\n', 1)[0]})`;
  }
  logLine(`the order ${began.path} ${problem}: the other rows follow in the order of the store`);
  return null;
}

/**
 * The order of a migration that has begun. `given` may name it again, by its path or with the same content.
 * @throws UserError if `given` is another order
 */
export function orderOfMigration(
  given: string | undefined,
  began: Pick<OrderFile, 'path' | 'digest'> | null,
  { url, ...models }: Models & { readonly url: string },
): OrderFile | null {
  if (given === undefined || resolve(given) === began?.path) return reopenOrder(began, models);
  const order = openOrder(given, models);
  if (order?.digest === began?.digest) return order;
  throw new UserError(`${url}: its migration follows ${began ? `the order ${began.path}` : 'no order'}, not ${given}`, {
    hint: `go on with that: mixbct migrate resume '${url}', or end it: mixbct migrate rollback '${url}'`,
  });
}

function ofSimulation(folder: string, name: string, { from, to }: Models): OrderFile {
  const { rows, ids, info } = openBackfillOrder(folder, name);
  for (const [which, simulated, moved] of [['old', info.old, from], ['new', info.new, to]] as const) // biome-ignore format: short
    if (simulated.model && simulated.model.digest !== moved.model.digest)
      throw new UserError(`${folder} is a simulation with another ${which} model (${simulated.model.name}, digest ${simulated.model.digest}), the gallery moves from ${from.model.name} to ${to.model.name}`, { hint: 'simulate the backfill with features of these models' }); // biome-ignore format: short
  // rows of a set without ids are told by their numbers, as in a gallery that `mixbct store load` has made of it
  const keys = { *[Symbol.iterator]() { for (const row of rows) yield ids?.at(row) ?? String(row); } }; // biome-ignore format: short
  return { path: `${resolve(folder)}:${name}`, digest: fileDigest(backfillFiles(folder).order(name)), keys };
}
