import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cachedFileDigest } from '../artifacts/cached-digest.ts';
import { digestOf } from '../artifacts/digest.ts';
import { FileError } from '../base/errors.ts';
import { formatCount } from '../base/progress.ts';
import { FIVE_POINTS, similarityTransform } from './face-alignment.ts';
import { type IjbImages, type IjbPairs, ListCache } from './list-cache.ts';
import { linesEndingInOne, readTable } from './text-table.ts';

/** The two benchmarks there are, and what their files and galleries are called (methods.md 6.1). */
const subsets = {
  IJBC: { stem: 'ijbc', galleries: ['G1', 'G2'] },
  IJBB: { stem: 'ijbb', galleries: ['S1', 'S2'] },
} as const;
export type IjbSubset = keyof typeof subsets;

/** Templates, once each with ascending ids, and whom they show. */
export type Enrolment = { readonly templates: Int32Array; readonly subjects: Int32Array };
export type IjbIdentification = {
  readonly galleries: readonly (Enrolment & { readonly name: string })[];
  readonly probes: Enrolment;
};

const PAIRS_AT_A_TIME = 8_000_000;
/** Ids up to this are marked in a table of one byte each, larger ones in a set. */
const MOST_MARKED = 1 << 24;

/**
 * Opens `<root>/IJBC` or `<root>/IJBB` and reads the two lists of images; the other files are read when they are asked for,
 * and need not be there before.
 * @throws FileError naming file and line of what is wrong.
 */
export const openIjb = (root: string, subset: IjbSubset, options: IjbOptions = {}): Ijb =>
  new Ijb(root, subset, options);

export type IjbOptions = {
  /** A folder where the lists of images and pairs are kept as arrays, and taken from (`ListCache`). */
  readonly cache?: string;
};

/** An IJB benchmark on disk in its published layout. Source: methods.md 6.1. */
export class Ijb {
  readonly subset: IjbSubset;
  /** `<root>/IJBC` */
  readonly path: string;
  readonly images: IjbImages;
  /** All templates, ascending. [T] */
  readonly templateIds: Int32Array;
  /** The files of the meta folder by what they hold. */
  readonly files: {
    readonly list: string;
    readonly landmarks: string;
    readonly pairs: string;
    readonly galleries: readonly string[];
    readonly probes: string;
  };
  readonly #hasImages: (template: number) => boolean;
  readonly #cache: ListCache;

  constructor(root: string, subset: IjbSubset, { cache }: IjbOptions = {}) {
    const { stem, galleries } = subsets[subset];
    this.subset = subset;
    this.path = join(root, subset);
    const meta = (name: string): string => join(this.path, 'meta', `${stem}_${name}`);
    this.files = {
      list: meta('face_tid_mid.txt'),
      landmarks: meta('name_5pts_score.txt'),
      pairs: meta('template_pair_label.txt'),
      galleries: galleries.map((name) => meta(`1N_gallery_${name}.csv`)),
      probes: meta('1N_probe_mixed.csv'),
    };
    if (!existsSync(this.path))
      throw new FileError(this.path, 'no such folder', `wanted ${subset}/meta and ${subset}/loose_crop below ${root}`);
    this.#cache = new ListCache(cache ?? null);
    this.images = this.#cache.images([this.files.list, this.files.landmarks], () => {
      const list = readList(this.files.list);
      return { ...list, ...readLandmarks(this.files, list.names) };
    });
    this.templateIds = Int32Array.from(new Set(this.images.templates)).sort();
    this.#hasImages = membership(this.templateIds);
  }

  /** Digest of all meta files that are there. */
  get digest(): string {
    const { list, landmarks, pairs, galleries, probes } = this.files;
    const there = [list, landmarks, pairs, ...galleries, probes].filter((file) => existsSync(file));
    return digestOf(...there.flatMap((file) => [basename(file), cachedFileDigest(file)]));
  }

  /** The 1:1 protocol in pieces of at most `chunk` pairs, or as they were kept; no more of it is in memory. */
  pairs({ chunk = PAIRS_AT_A_TIME }: { readonly chunk?: number } = {}): Generator<IjbPairs, void, undefined> {
    return this.#cache.pairs([this.files.list, this.files.pairs], () => this.#readPairs(chunk));
  }

  *#readPairs(chunk: number): Generator<IjbPairs, void, undefined> {
    const path = this.files.pairs;
    let total = 0;
    for (const { from, count, columns } of readTable(path, ['integer', 'integer', 'integer'], { chunk })) {
      const [gallery, query, labels] = columns;
      for (let i = 0; i < count; i++) {
        if (labels[i]! > 1) throw new FileError(path, `line ${from + i}: label ${labels[i]}, wanted 0 or 1`);
        this.#requireImages(gallery[i]!, path, from + i);
        this.#requireImages(query[i]!, path, from + i);
      }
      total += count;
      yield { gallery, query, same: Uint8Array.from(labels) };
    }
    if (total === 0) throw new FileError(path, 'holds no pairs');
  }

  /**
   * The pairs of label 1 alone, in order. Their lines are searched for by their ends, which is many times faster than to
   * read all; `pairs` checks the others.
   * @throws FileError naming file and line if a pair of label 1 is malformed, or if there is none
   */
  genuinePairs(): Omit<IjbPairs, 'same'> {
    const kept = this.#cache.genuinePairs([this.files.list, this.files.pairs]);
    if (kept && kept.gallery.length > 0) return kept;
    const found: { gallery: number[]; query: number[] } = { gallery: [], query: [] };
    for (const line of linesEndingInOne(this.files.pairs)) {
      const cells = /^[ \t]*(\d+)[ \t]+(\d+)[ \t]+0*1[ \t]*\r?$/.exec(line);
      const [gallery, query] = [Number(cells?.[1]), Number(cells?.[2])];
      if (!(this.#hasImages(gallery) && this.#hasImages(query))) return this.#refusePairs();
      found.gallery.push(gallery);
      found.query.push(query);
    }
    if (found.gallery.length === 0) return this.#refusePairs();
    return { gallery: Int32Array.from(found.gallery), query: Int32Array.from(found.query) };
  }

  /** Reads all pairs to find the line that is malformed. */
  #refusePairs(): never {
    for (const _ of this.pairs());
    throw new FileError(
      this.files.pairs,
      'holds no pair of label 1',
      'wanted "template template label", label 1 where both show the same subject',
    );
  }

  /** The 1:N protocol. A subject has one template in one gallery; one probe may show somebody who is in none. */
  identification(): IjbIdentification {
    const seen = new Map<number, string>();
    const galleries = this.files.galleries.map((path, g) => {
      const gallery = this.#enrolment(path, (template, subject, line) => {
        const other = seen.get(subject);
        if (other !== undefined)
          throw new FileError(
            path,
            `line ${line}: template ${template} shows subject ${subject}, as does ${other}`,
            'a subject has one template in one of the galleries',
          );
        seen.set(subject, `template ${template} of ${basename(path)}`);
      });
      return { name: subsets[this.subset].galleries[g]!, ...gallery };
    });
    return { galleries, probes: this.#enrolment(this.files.probes) };
  }

  /** @throws FileError if a template has no images or two subjects, or `check` of its first mention objects. */
  #enrolment(path: string, check?: (template: number, subject: number, line: number) => void): Enrolment {
    const subjects = new Map<number, number>();
    const layout = { separator: ',', header: true, more: true } as const;
    for (const { from, count, columns } of readTable(path, ['integer', 'integer'], layout))
      for (let i = 0; i < count; i++) {
        const [template, subject] = [columns[0][i]!, columns[1][i]!];
        const known = subjects.get(template);
        if (known === subject) continue;
        if (known !== undefined)
          throw new FileError(
            path,
            `line ${from + i}: template ${template} shows subject ${subject}, and ${known} further up`,
          );
        this.#requireImages(template, path, from + i);
        check?.(template, subject, from + i);
        subjects.set(template, subject);
      }
    if (subjects.size === 0) throw new FileError(path, 'holds no templates');
    const templates = Int32Array.from(subjects.keys()).sort();
    return { templates, subjects: templates.map((id) => subjects.get(id)!) };
  }

  #requireImages(template: number, path: string, line: number): void {
    if (!this.#hasImages(template))
      throw new FileError(path, `line ${line}: template ${template} has no images in ${basename(this.files.list)}`);
  }
}

function membership(ids: Int32Array): (id: number) => boolean {
  const most = ids.at(-1) ?? -1;
  if (most > MOST_MARKED) {
    const set = new Set(ids);
    return (id) => set.has(id);
  }
  const marked = new Uint8Array(most + 1);
  for (const id of ids) marked[id] = 1;
  return (id) => marked[id] === 1;
}

function readList(path: string): Pick<IjbImages, 'names' | 'templates' | 'media'> {
  const names: string[] = [];
  const [templates, media]: [Int32Array[], Int32Array[]] = [[], []];
  const mentions = new Mentions();
  for (const { from, count, columns } of readTable(path, ['text', 'integer', 'integer'])) {
    for (let i = 0; i < count; i++) {
      const [name, template] = [columns[0][i]!, columns[1][i]!];
      if (leavesFolder(name))
        throw new FileError(path, `line ${from + i}: ${JSON.stringify(name)} is no name of a file below loose_crop`);
      const before = mentions.add(name, template, from + i);
      if (before !== undefined)
        throw new FileError(path, `line ${from + i}: template ${template} has ${name} in line ${before} already`);
      names.push(name);
    }
    templates.push(columns[1]);
    media.push(columns[2]);
  }
  if (names.length === 0) throw new FileError(path, 'lists no images');
  return { names, templates: joined(templates, names.length), media: joined(media, names.length) };
}

/** Who has been mentioned where. Few images are in several templates, so that only these need a key of both. */
class Mentions {
  readonly #first = new Map<string, { readonly template: number; readonly line: number }>();
  readonly #more = new Map<string, number>();

  /** The line of an earlier mention of both, or nothing. */
  add(name: string, template: number, line: number): number | undefined {
    const first = this.#first.get(name);
    if (!first) this.#first.set(name, { template, line });
    else if (first.template === template) return first.line;
    else {
      const key = `${template} ${name}`;
      const before = this.#more.get(key);
      this.#more.set(key, line);
      return before;
    }
    return undefined;
  }
}

const leavesFolder = (name: string): boolean =>
  name.includes('\0') || name.split('/').some((part) => part === '' || part === '.' || part === '..');

function joined(parts: readonly Int32Array[], length: number): Int32Array {
  const all = new Int32Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Landmarks and scores, which must be told in the order of the list. */
function readLandmarks(files: Ijb['files'], names: readonly string[]): Pick<IjbImages, 'landmarks' | 'detector'> {
  const path = files.landmarks;
  const landmarks = new Float32Array(new SharedArrayBuffer(4 * 10 * names.length));
  const detector = new Float32Array(names.length);
  let rows = 0;
  for (const { from, count, columns } of readTable(path, ['text', ...TEN_NUMBERS, 'number'])) {
    const [found, ...numbers] = columns;
    for (let i = 0; i < count; i++, rows++) {
      if (found[i] !== names[rows])
        throw new FileError(
          path,
          `line ${from + i}: is about ${found[i]}, line ${from + i} of ${basename(files.list)} about ${names[rows] ?? 'nothing'}`,
          'both lists must name the same images in the same order',
        );
      const own = landmarks.subarray(rows * 10, rows * 10 + 10);
      for (let k = 0; k < 10; k++) own[k] = numbers[k]![i]!;
      detector[rows] = numbers[10]![i]!;
      requireFace(own, path, from + i);
    }
  }
  if (rows < names.length)
    throw new FileError(
      path,
      `ends after line ${rows}, ${basename(files.list)} lists ${formatCount(names.length, 'image')}`,
    );
  return { landmarks, detector };
}

const TEN_NUMBERS = [
  ...(['number', 'number', 'number', 'number', 'number'] as const),
  ...(['number', 'number', 'number', 'number', 'number'] as const),
] as const;

function requireFace(landmarks: Float32Array, path: string, line: number): void {
  try {
    similarityTransform(landmarks, FIVE_POINTS);
  } catch {
    throw new FileError(path, `line ${line}: the landmarks lie on one point, or not in the order of a face`);
  }
}
