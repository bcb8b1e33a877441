import { FileError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { MOST_EXACT } from './recordio.ts';

/** What a header record says: `[end, x]`, as float32. */
export type Header = readonly [end: number, x: number];

/** Where the images of a record set lie among its records, and its class count. */
export type Layout = { readonly from: number; readonly until: number; readonly classes: number };

export type Records = {
  readonly rec: string;
  readonly idx: string;
  readonly keys: Int32Array;
  /** Whether the record at a position holds no image. */
  readonly isEmpty: (position: number) => boolean;
};

/** Classes that a header may state beyond one for each image, so that a header alone does not decide how much memory is used. */
const MOST_EMPTY_CLASSES = 2 ** 20;

/**
 * The layout that a header record `[end, x]` describes: images are the keys 1 … end-1, and x is the class count, unless there
 * are records from key `end` on. Those describe one identity each, x is the key after the last of them, and C = x - end
 * (MS1M, methods.md 1.2). From 2^24 on float32 rounds: `end` is then the count of records, or the first record without an
 * image, that rounds to what the header says.
 * @throws FileError if the index and the header do not belong together
 */
export function layoutOf(records: Records, [end, x]: Header): Layout {
  const { rec, idx, keys } = records;
  const until = end < MOST_EXACT ? exactEnd(keys, end) : roundedEnd(records, end);
  if (until === null)
    throw new FileError(
      idx,
      `lists ${formatCount(positionOf(keys, end) - 1, 'image')} before key ${end}, the header record states ${end - 1}`,
      'the record set is incomplete: fetch or write it anew',
    );
  const images = until - 1;
  if (images === 0) throw new FileError(rec, 'holds no images');
  const classes = until === keys.length ? x : x < MOST_EXACT ? x - until : roundedClasses(records, until, x);
  const most = Math.min(images + MOST_EMPTY_CLASSES, MOST_EXACT);
  if (!(Number.isInteger(classes) && classes >= 1 && classes <= most))
    throw new FileError(
      rec,
      `the header record states ${formatCount(classes, 'class', 'classes')} of ${formatCount(images, 'image')}, wanted 1 to ${most}`,
      'is the header [images + 1, classes]? write the record set anew',
    );
  return { from: 1, until, classes };
}

/** The position of the first record from key `end` on: the count of records, if there is none. */
function positionOf(keys: Int32Array, end: number): number {
  let at = 1;
  while (at < keys.length && !(keys[at]! >= end)) at++;
  return at;
}

/** The position of the first record that is no image; null if it is not the one with key `end`. */
const exactEnd = (keys: Int32Array, end: number): number | null => (positionOf(keys, end) === end ? end : null);

function roundedEnd({ keys, isEmpty }: Records, end: number): number | null {
  if (!(end <= 2 * keys.length)) return null;
  const spacing = 2 ** (Math.floor(Math.log2(end)) - 23);
  const rounded: number[] = [];
  for (let value = end - spacing; value <= end + spacing; value++) if (Math.fround(value) === end) rounded.push(value);
  const [least] = rounded;
  if (least === undefined || keys.length < least || !countsUp(keys, least)) return null;
  const empty = rounded.find((position) => position < keys.length && isEmpty(position));
  return empty ?? (rounded.includes(keys.length) ? keys.length : null);
}

function countsUp(keys: Int32Array, count: number): boolean {
  for (let i = 0; i < count; i++) if (keys[i] !== i) return false;
  return true;
}

/** The count of identity records, which reach to the end of the set. */
function roundedClasses({ rec, keys }: Records, until: number, x: number): number {
  const after = keys.at(-1)! + 1;
  if (Math.fround(after) === x) return after - until;
  throw new FileError(
    rec,
    `the header record states records up to key ${x - 1}, the index ends at key ${after - 1}`,
    'the record set is incomplete: fetch or write it anew',
  );
}
