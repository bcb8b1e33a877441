import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, digestOf, fileDigest } from '../artifacts/digest.ts';
import { writeAtomic } from '../artifacts/durable-write.ts';
import { writeIds } from '../artifacts/id-list.ts';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { openBackfillOrder } from '../backfill/order-file.ts';
import type { BackfillOrderName } from '../backfill/simulation.ts';
import { UserError } from '../base/errors.ts';
import type { Reporter } from '../base/progress.ts';
import { FeatureSet } from '../features/index.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import { parseStoreUrl, withoutPassword } from '../stores/store-url.ts';
import { type LoadGalleryOptions, loadGallery } from './galleries.ts';
import { cutOver, migrate, migrationStatus, verifyGallery } from './migrate.ts';
import { type RollOut, rollOutArtifact, rollOutFiles, rollOutUrl, type SearchesAt, searchesText } from './roll-out-artifact.ts'; // biome-ignore format: short
import { searchesAt } from './roll-out-searches.ts';
import { writeThresholds } from './thresholds.ts';

export type RollOutOptions = {
  /** Feature sets of one data set by the old and the new model: the gallery, and what it is searched with. */
  readonly old: string;
  readonly new: string;
  /** The data set: its images go into the gallery. */
  readonly data: string;
  /** The new model, which embeds the images. */
  readonly model: string;
  /** An evaluation of both models: thresholds, calibrations, and whether new queries may meet old vectors. */
  readonly evaluation: string;
  /** A simulation with the same features, and which of its orders is taken. */
  readonly backfill?: string | undefined;
  readonly order?: BackfillOrderName | undefined;
  /** URL of a table that does not exist; default: one in LanceDB in the folder `out`. */
  readonly gallery?: string | undefined;
  /** Rows that are searched for at each moment. */
  readonly queries?: number | undefined;
  readonly seed?: number;
  readonly out: string;
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly reporter?: Pick<Reporter, 'line'>;
};

/** New vectors that are made again to verify them. */
const REMADE = 100;

/**
 * Makes a gallery, moves it to the new model and cuts over. It is searched before, when half is moved, and after. What was
 * done when it was stopped or killed counts.
 * @throws UserError if inputs do not belong together, or a new vector is wrong; Interrupted
 */
export async function rollOut(options: RollOutOptions): Promise<void> {
  const { out, force = false, signal, reporter, queries = 200, seed = 0 } = options;
  requireUrl(options);
  const { old, new: newer, data, model, evaluation, backfill, order = 'predicted-disagreement' } = options;
  using oldSet = FeatureSet.open(old);
  using newSet = FeatureSet.open(newer);
  const [from, to] = [oldSet.info.model, newSet.info.model];
  if (oldSet.info.dataset?.digest !== newSet.info.dataset?.digest || !from || !to)
    throw new UserError(`${old} and ${newer} are not features of one data set by two models`);
  {
    using encoder = await openEncoder(model);
    if (encoder.digest !== to.digest) throw new UserError(`${newer} is not of the model ${model}`);
  }
  const inputs = [old, newer, data, model, evaluation, backfill];
  const made = [evaluation, ...(backfill === undefined ? [] : [backfill])].map((path) =>
    fileDigest(join(path, MANIFEST)),
  );
  const own = options.gallery === undefined ? [] : [options.gallery];
  const key = digestOf(canonicalJson([oldSet.digest, newSet.digest, order, queries, seed, made, ...own]));
  const isWorthKeeping = (folder: string): boolean =>
    existsSync(rollOutFiles(folder).progress) || existsSync(rollOutFiles(folder).loading);
  await rollOutArtifact.write(out, { force, inputs, resume: { key, isWorthKeeping } }, async (folder) => {
    const files = rollOutFiles(folder);
    const url = options.gallery ?? rollOutUrl(folder);
    const done: { -readonly [K in keyof RollOut]: RollOut[K] } = existsSync(files.progress) ? (readJson(files.progress) as RollOut) : {}; // biome-ignore format: short
    const step = async <K extends keyof RollOut>(name: K, make: () => Promise<RollOut[K]>): Promise<void> => {
      if (done[name] !== undefined) return;
      signal?.throwIfAborted();
      done[name] = await make();
      writeAtomic(files.progress, `${JSON.stringify(done, null, 2)}\n`);
    };
    const search = async (moment: string): Promise<SearchesAt> => {
      const at = await searchesAt({ url, old, new: newer, thresholds: files.thresholds, queries, seed });
      reporter?.line(`${moment}: ${searchesText(at)}`);
      return at;
    };
    await step('loaded', async () => {
      rmSync(files.gallery, { recursive: true, force: true }); // of an attempt that was killed before its stamp
      writeThresholds([evaluation], { out: files.thresholds, force: true });
      if (backfill !== undefined) writeOrderOf(oldSet, backfill, order, files.order);
      return { rows: await loadOnce({ features: old, url, data }, files.loading) };
    });
    rmSync(files.loading, { force: true });
    const { rows } = done.loaded!;
    await step('before', () => search('before'));
    const source = {
      batchSize: Math.min(256, Math.ceil(rows / 8)), // whole batches are moved: half of a small gallery is about a half
      url,
      model,
      images: 'image',
      order: backfill === undefined ? undefined : files.order,
      ...(signal && { signal }),
    };
    await step('moved', async () => {
      const { moved, migration } = await migrationStatus(url);
      await migrate({ ...source, limit: Math.ceil(rows / 2) - (migration ? moved : 0) });
      return { rows: (await migrationStatus(url)).moved };
    });
    await step('during', () => search(`${done.moved!.rows} of ${rows} moved`));
    await step('verified', async () => {
      await migrate(source);
      const { ok, otherwise, sampled } = await verifyGallery(url, { sample: REMADE, seed });
      if (!ok) throw new UserError(`${url}: new vectors are wrong, ${otherwise} of ${sampled} come out otherwise`);
      return { rows, remade: sampled };
    });
    await step('cutOver', async () => {
      if ((await migrationStatus(url)).migration?.phase === 'moving') await cutOver(url);
      return true;
    });
    await step('after', () => search('after the cut-over'));
    const named = ({ name, digest }: { readonly name: string; readonly digest: string }) => ({ name, digest });
    return {
      ...{ from: named(from), to: named(to), rows, digest: fileDigest(files.progress) },
      ...(options.gallery !== undefined && { url: options.gallery }),
    };
  });
}

/**
 * Loads a gallery. The file `loading` tells an attempt after one that was killed that the table may be there already: it is made before
 * anything else is written of it. A first attempt that fails, whatever the cause, takes it back: it may not have come to the table, and
 * then that is somebody else's. → the number of rows. @throws UserError if there is such a table that no attempt has made
 */
export async function loadOnce(gallery: LoadGalleryOptions, loading: string): Promise<number> {
  const resume = existsSync(loading);
  writeAtomic(loading, '');
  try {
    return (await loadGallery(gallery, { resume })).rows;
  } catch (error) {
    if (!resume) rmSync(loading);
    throw error;
  }
}

/** @throws UserError if a gallery cannot be at the place, or its URL has a password: an experiment and what it leaves behind are no secret */
function requireUrl({ out, gallery }: RollOutOptions): void {
  if (gallery === undefined) {
    if (out.includes('#')) throw new UserError(`${out}: a gallery cannot be in a folder with # in its name`);
    return;
  }
  parseStoreUrl(gallery);
  if (withoutPassword(gallery) !== gallery)
    throw new UserError(`${withoutPassword(gallery)}: an experiment must not name a password`, { hint: 'give it in PGPASSWORD or ~/.pgpass' }); // biome-ignore format: short
}

/** Writes an order of a simulation as the ids that the gallery has. @throws UserError if it is of other features */
function writeOrderOf(old: FeatureSet, backfill: string, name: BackfillOrderName, file: string): void {
  const { rows, info } = openBackfillOrder(backfill, name);
  if (info.old.features !== old.digest)
    throw new UserError(`${backfill} is a simulation with other features than ${old.path}`);
  writeIds(
    file,
    Array.from(rows, (row) => old.id(row) ?? String(row)),
  );
}
