// A process of its own (roll-out-faults.ts starts it): an application that inserts, changes, deletes and searches rows of a gallery
// while that is migrated, and checks what every search finds. Arguments: store, URL, feature sets, rows, seed.
import { setTimeout } from 'node:timers/promises';
import { messageOf } from '../../src/base/errors.ts';
import { Rng } from '../../src/base/rng.ts';
import type { GalleryStore } from '../../src/stores/gallery-store.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { withoutPassword } from '../../src/stores/store-url.ts';
import { type Application, stores } from './applications.ts';
import { cosine, GalleryRows } from './gallery-rows.ts';

/** What the application did and found. */
export type ApplicationReport = {
  inserted: number;
  deleted: number;
  changed: number;
  searches: number;
  /** Searches that found rows in both spaces. */
  ofTwoSpaces: number;
  hits: number;
  /** Hits whose score is not the cosine of the query and the row in the space that they are said to be of; keys found in two spaces. */
  mixed: number;
  twice: number;
  /** Nearest rows of a space, and those with the label of the query. */
  nearest: { old: number; new: number };
  right: { old: number; new: number };
  /** Operations that failed, as while a server was away. */
  failed: number;
  messages: string[];
  /** Rows that must be there, each with the factor of its vector. */
  expected: [key: string, factor: number][];
};

const [kind, url, old, newer, rows, seed] = process.argv.slice(2) as [string, string, string, string, string, string];
const all = new GalleryRows(old, newer, { rows: Number(rows), seed: Number(seed) });
const rng = new Rng(seed).split('application');
const live = new Map(all.gallery.map((key) => [key, 1]));
const spare = [...all.spare];
const report: ApplicationReport = {
  ...{ inserted: 0, deleted: 0, changed: 0, searches: 0, ofTwoSpaces: 0, hits: 0, mixed: 0, twice: 0 },
  ...{ nearest: { old: 0, new: 0 }, right: { old: 0, new: 0 }, failed: 0, messages: [], expected: [] },
};
let [writes, stopping] = [true, false];
let handled: (() => void) | undefined;

process.on('message', (message: 'writes off' | 'stop') => {
  if (message === 'writes off') writes = false;
  else stopping = true;
  // a report is long: it is on its way when the process may go
  handled = () =>
    process.send!(message === 'stop' ? report : 'writes off', () => message === 'stop' && process.disconnect());
});

const pick = (from: readonly string[]): string => from[rng.integer(from.length)]!;
/** Scores of stores that keep single precision. */
const TOLERANCE = 1e-4;
const K = 10;

async function search(store: GalleryStore): Promise<void> {
  const query = pick(all.queries);
  const queries = new Map([[all.digests.old, all.old(query)], [all.digests.new, all.new(query)]]); // biome-ignore format: short
  const spaces = await store.search(queries, { k: K });
  report.searches++;
  if (spaces.filter(({ hits }) => hits!.length > 0).length > 1) report.ofTwoSpaces++;
  const keys = spaces.flatMap(({ hits }) => hits!.map(({ key }) => key));
  report.twice += keys.length - new Set(keys).size;
  for (const { stamp, hits } of spaces) {
    const which = stamp.model.digest === all.digests.old ? 'old' : 'new';
    for (const { key, score } of hits!) {
      report.hits++;
      if (!(Math.abs(score - cosine(all[which](query), all[which](key))) < TOLERANCE)) report.mixed++;
    }
    if (hits!.length === 0) continue;
    report.nearest[which]++;
    if (all.label(hits![0]!.key) === all.label(query)) report.right[which]++;
  }
}

/** One write; what is there afterwards is known only if it succeeded. */
async function write(application: Application): Promise<void> {
  const scaled = (key: string, factor: number): Float32Array => all.old(key).map((x) => x * factor);
  const what = rng.integer(3);
  if (what === 0 && spare.length > 0) {
    const key = spare.pop()!;
    await settled(key, 1, () => application.insert([{ key, vector: scaled(key, 1), path: key }]));
    report.inserted++;
  } else if (what === 1) {
    const key = pick([...live.keys()]);
    await settled(key, null, () => application.remove(key));
    spare.unshift(key); // it comes back later
    report.deleted++;
  } else {
    const key = pick([...live.keys()]);
    const factor = 2 ** (1 + rng.integer(4)); // exact: the direction stays
    await settled(key, factor, () => application.setVector(key, scaled(key, factor)));
    report.changed++;
  }
}

/** Rows of which it is not known whether a write that failed was done. */
const unsettled = new Map<string, readonly [before: number | null, after: number | null]>();

async function settled(key: string, factor: number | null, write: () => Promise<void>): Promise<void> {
  unsettled.set(key, [live.get(key) ?? null, factor]);
  await write();
  unsettled.delete(key);
  if (factor === null) live.delete(key);
  else live.set(key, factor);
}

/** Looks what became of writes that failed. */
async function settle(store: GalleryStore): Promise<void> {
  for (const [key, [before, after]] of unsettled) {
    const [row] = await store.rows([key]);
    const is = (factor: number | null): boolean =>
      factor === null ? !row : !!row?.vector && Math.abs(row.vector[0]! - all.old(key)[0]! * factor) <= 1e-6 * Math.abs(row.vector[0]!); // biome-ignore format: short
    const found = is(after) ? after : is(before) ? before : undefined;
    if (found === undefined) throw new Error(`row ${key} is neither as before nor as after a write that failed`);
    if (found === null) live.delete(key);
    else live.set(key, found);
    unsettled.delete(key);
  }
}

/** Milliseconds between two operations, and after one that failed. */
const [PAUSE_MS, RETRY_MS] = [10, 200];

while (!handled || !stopping || unsettled.size > 0) {
  try {
    await using store = await openStore(url);
    await using application = await stores[kind]!.connect(url);
    await settle(store);
    while (!stopping) {
      if (handled) {
        handled();
        handled = undefined;
      }
      if (writes && rng.integer(2) === 0) await write(application);
      else await search(store);
      await setTimeout(PAUSE_MS);
    }
  } catch (error) {
    report.failed++;
    const message = withoutPassword(messageOf(error).split('\n', 1)[0]!);
    if (!report.messages.includes(message)) report.messages.push(message);
    await setTimeout(RETRY_MS);
  }
}
report.expected = [...live];
handled();
