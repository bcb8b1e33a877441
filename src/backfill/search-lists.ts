import { UserError } from '../base/errors.ts';
import { memoryError } from '../eval/evaluation-memory.ts';
import { cosine, NO_SCORE } from '../eval/scores.ts';
import { Column } from './columns.ts';
import { leastScore, type ScaledMerge } from './score-scales.ts';
import { eachSimilarityBlock, type SearchSpace, type SimilarityBlock } from './similarity-blocks.ts';

/**
 * Which entry is ahead of a probe's own, as bits of an entry: by the states of the own entry and of the other one (O not moved, N
 * moved), in this order. Inside a space all merges agree; across spaces, calibrated scores are compared in another way.
 */
export const AHEAD = { OO: 1, NN: 2, ON: 4, NO: 8, ON_CALIBRATED: 16, NO_CALIBRATED: 32 } as const;

/** States of the own entry in which a probe cannot be a hit at any rank that matters, whatever the others do, as bits of a probe. */
export const DEAD = { OLD: 1, NEW: 2, OLD_CALIBRATED: 4, NEW_CALIBRATED: 8, OLD_ALWAYS: 16, NEW_ALWAYS: 32 } as const;

/** What searches of one gallery depend on, in any order of moving its entries. Entries are counted from the gallery's first. */
export type SearchLists = {
  /** Entries. */
  readonly size: number;
  /** Probes whose identity is enrolled. [M] */
  readonly mated: {
    /** Position of the own entry, its similarity before and after it moves (`NO_SCORE`: it cannot be found), and `DEAD` bits. [M] */
    readonly own: Int32Array;
    readonly oldScore: Float32Array;
    readonly newScore: Float32Array;
    readonly dead: Uint8Array;
    /** Entries `from[i]` … `from[i + 1] - 1` may be ahead of probe i's own: where they are, and `AHEAD` bits. */
    readonly from: Int32Array;
    readonly entry: Int32Array;
    readonly ahead: Uint8Array;
  };
  /** Probes whose identity is not enrolled. [U] */
  readonly nonMated: {
    readonly count: number;
    /** Entries `from[i]` … `from[i + 1] - 1` may be the most similar one: where they are, and their similarities. */
    readonly from: Int32Array;
    readonly entry: Int32Array;
    readonly oldScore: Float32Array;
    readonly newScore: Float32Array;
  };
};

export type SearchListOptions = {
  /** Positions of the probes' own entries in each gallery, -1 if not enrolled, and where the gallery begins among the entries. */
  readonly parts: readonly { readonly start: number; readonly size: number; readonly enrolled: Int32Array }[];
  readonly merges: readonly ScaledMerge[];
  /** Whether ranks of each space are fused, too: then no state of an own entry is dead. */
  readonly rankFusion: boolean;
  /** The lowest rank that any metric asks for. */
  readonly mostRank: number;
  /** Bytes that the lists may take, with their calibrated scores. */
  readonly memoryBytes: number;
  readonly onBlock?: (done: number, total: number) => void;
};

/**
 * Compares all probes with all entries before and after the move, once, and keeps what any order of moving can make matter: an
 * entry is dropped only if no mixture of moved and unmoved entries lets it change a rank up to `mostRank` or a best score.
 * @throws UserError if the lists outgrow `memoryBytes`.
 */
export function buildSearchLists(
  before: SearchSpace<Float32Array>,
  after: SearchSpace<Float32Array>,
  options: SearchListOptions,
): SearchLists[] {
  const { parts, memoryBytes, onBlock } = options;
  const builders = parts.map((part) => new ListBuilder(part, options));
  const total = before.probes.positions.length;
  eachSimilarityBlock([before, after], ([old, moved], from, rows) => {
    for (const builder of builders) builder.add(old!, moved!, from, rows);
    requireRoomForLists(builders, { share: (from + rows) / total, memoryBytes });
    onBlock?.(from + rows, total);
  });
  return builders.map((builder) => builder.lists());
}

/** What the lists of a gallery take, and the entries of the longest one. */
type ListSize = { readonly bytes: number; readonly entries: number };

/** A score before and after the move in double precision, as `scaleScores` keeps them. */
const SCALED_BYTES = 16;
/** Positions in a list are of 32 bits. */
const MOST_ENTRIES = 2 ** 31 - 1;

/** @throws UserError if lists, of this share of the probes, outgrow `memoryBytes`, or one of them what it can count. */
export function requireRoomForLists(
  lists: readonly ListSize[],
  { share, memoryBytes }: Pick<SearchListOptions, 'memoryBytes'> & { readonly share: number },
): void {
  const bytes = lists.reduce((sum, list) => sum + list.bytes, 0);
  const fewer = 'draw fewer probes, or do without rank fusion, which keeps every entry that is ever ahead';
  if (bytes > memoryBytes)
    throw memoryError(
      'the entries that may be found take about',
      { needed: bytes / share, allowed: memoryBytes },
      `allow more memory, ${fewer}`,
    );
  const entries = Math.max(...lists.map((list) => list.entries));
  if (entries > MOST_ENTRIES)
    throw new UserError(`a list has ${entries} entries that may be found, it may have ${MOST_ENTRIES}`, {
      hint: fewer,
    });
}

class ListBuilder implements ListSize {
  readonly #part: SearchListOptions['parts'][number];
  readonly #options: SearchListOptions;
  readonly #calibrated: ScaledMerge | undefined;
  readonly #own = new Column(new Int32Array(0));
  readonly #scores = { old: new Column(new Float32Array(0)), new: new Column(new Float32Array(0)) };
  readonly #dead = new Column(new Uint8Array(0));
  readonly #matedFrom = new Column(new Int32Array(0));
  readonly #matedEntry = new Column(new Int32Array(0));
  readonly #ahead = new Column(new Uint8Array(0));
  readonly #nonMatedFrom = new Column(new Int32Array(0));
  readonly #nonMatedEntry = new Column(new Int32Array(0));
  readonly #best = { old: new Column(new Float32Array(0)), new: new Column(new Float32Array(0)) };
  #found = { entry: new Int32Array(1024), bits: new Uint8Array(1024) };

  constructor(part: SearchListOptions['parts'][number], options: SearchListOptions) {
    this.#part = part;
    this.#options = options;
    this.#calibrated = options.merges.find(({ merge }) => merge === 'calibrated');
    this.#matedFrom.push(0);
    this.#nonMatedFrom.push(0);
  }

  get bytes(): number {
    const mated = [this.#own, this.#scores.old, this.#scores.new, this.#dead, this.#matedFrom, this.#matedEntry, this.#ahead]; // biome-ignore format: short
    const nonMated = [this.#nonMatedFrom, this.#nonMatedEntry, this.#best.old, this.#best.new];
    const { entry, bits } = this.#found;
    const scaled = this.#calibrated ? SCALED_BYTES * (this.#own.length + this.#nonMatedEntry.length) : 0;
    return [...mated, ...nonMated].reduce((sum, { bytes }) => sum + bytes, entry.byteLength + bits.byteLength + scaled);
  }

  get entries(): number {
    return Math.max(this.#matedEntry.length, this.#nonMatedEntry.length);
  }

  add(old: SimilarityBlock<Float32Array>, moved: SimilarityBlock<Float32Array>, from: number, rows: number): void {
    const { start, size, enrolled } = this.#part;
    const stride = old.gallery.length / old.dim;
    for (let row = 0; row < rows; row++) {
      const at = row * stride + start;
      const a = old.similarity.subarray(at, at + size);
      const b = moved.similarity.subarray(at, at + size);
      const own = enrolled[from + row]!;
      if (own < 0) this.#addNonMated(a, b);
      else this.#addMated(a, b, own, { old, new: moved, row });
    }
  }

  #addMated(a: Float32Array, b: Float32Array, own: number, blocks: ProbeBlocks): void {
    const { mostRank, rankFusion, merges } = this.#options;
    const direct = merges.some(({ merge }) => merge === 'direct');
    const [ownOld, ownNew] = [a[own]!, b[own]!];
    const never = (ownOld === NO_SCORE ? DEAD.OLD_ALWAYS : 0) | (ownNew === NO_SCORE ? DEAD.NEW_ALWAYS : 0);
    const found = this.#entriesAhead(a, b, own, blocks);
    const { bits } = this.#found;
    let [old, moved, oldCalibrated, movedCalibrated] = [0, 0, 0, 0];
    for (let i = 0; i < found; i++) {
      const mask = bits[i]!;
      if (mask & AHEAD.OO && mask & AHEAD.ON) old++;
      if (mask & AHEAD.NN && mask & AHEAD.NO) moved++;
      if (mask & AHEAD.OO && mask & AHEAD.ON_CALIBRATED) oldCalibrated++;
      if (mask & AHEAD.NN && mask & AHEAD.NO_CALIBRATED) movedCalibrated++;
    }
    const dead =
      never |
      (!direct || old >= mostRank || never & DEAD.OLD_ALWAYS ? DEAD.OLD : 0) |
      (!direct || moved >= mostRank || never & DEAD.NEW_ALWAYS ? DEAD.NEW : 0) |
      (!this.#calibrated || oldCalibrated >= mostRank || never & DEAD.OLD_ALWAYS ? DEAD.OLD_CALIBRATED : 0) |
      (!this.#calibrated || movedCalibrated >= mostRank || never & DEAD.NEW_ALWAYS ? DEAD.NEW_CALIBRATED : 0);
    const needed = neededBits(dead, rankFusion);
    for (let i = 0; i < found; i++) {
      const mask = bits[i]! & needed;
      if (mask === 0) continue;
      this.#matedEntry.push(this.#found.entry[i]!);
      this.#ahead.push(mask);
    }
    this.#own.push(own);
    this.#scores.old.push(ownOld);
    this.#scores.new.push(ownNew);
    this.#dead.push(dead);
    this.#matedFrom.push(this.#matedEntry.length);
  }

  /** Finds the entries that are ahead of the own one in any mixture. → how many, in `#found` */
  #entriesAhead(a: Float32Array, b: Float32Array, own: number, { old, new: moved, row }: ProbeBlocks): number {
    const { start } = this.#part;
    const [ownOld, ownNew] = [a[own]!, b[own]!];
    const [findableOld, findableNew] = [ownOld !== NO_SCORE, ownNew !== NO_SCORE];
    const across = Math.max(old.rounding, moved.rounding);
    const never = Number.POSITIVE_INFINITY;
    // scores from which on the other entry is ahead, by the states of the own entry and of the other one
    const oo = findableOld ? ownOld : never;
    const nn = findableNew ? ownNew : never;
    const on = findableOld ? ownOld : never;
    const no = findableNew ? ownNew : never;
    let [onCalibrated, noCalibrated] = [never, never];
    if (this.#calibrated) {
      const { scales } = this.#calibrated;
      if (findableOld) onCalibrated = leastScore(scales.new, scales.old(ownOld));
      if (findableNew) noCalibrated = leastScore(scales.old, scales.new(ownNew));
    }
    const leastOld = Math.min(oo - old.rounding, no - across, noCalibrated);
    const leastNew = Math.min(nn - moved.rounding, on - across, onCalibrated);
    const exact = ({ probes, gallery, dim }: SimilarityBlock<Float32Array>, entry: number): number =>
      cosine(probes, row, gallery, start + entry, dim);
    let count = 0;
    for (let j = 0; j < a.length; j++) {
      const x = a[j]!;
      const y = b[j]!;
      if ((x < leastOld && y < leastNew) || j === own) continue;
      // nearly equal scores are summed again, as `SearchTally` does
      const isAhead = (value: number, limit: number, rounding: number, equal: () => boolean): boolean =>
        value >= limit || (value >= limit - rounding && equal());
      let mask = 0;
      if (isAhead(x, oo, old.rounding, () => exact(old, j) === exact(old, own))) mask |= AHEAD.OO;
      if (isAhead(y, nn, moved.rounding, () => exact(moved, j) === exact(moved, own))) mask |= AHEAD.NN;
      if (isAhead(y, on, across, () => exact(moved, j) === exact(old, own))) mask |= AHEAD.ON;
      if (isAhead(x, no, across, () => exact(old, j) === exact(moved, own))) mask |= AHEAD.NO;
      if (y >= onCalibrated) mask |= AHEAD.ON_CALIBRATED;
      if (x >= noCalibrated) mask |= AHEAD.NO_CALIBRATED;
      if (mask === 0) continue;
      if (count === this.#found.bits.length) this.#grow();
      this.#found.entry[count] = j;
      this.#found.bits[count++] = mask;
    }
    return count;
  }

  #grow(): void {
    const { entry, bits } = this.#found;
    this.#found = { entry: new Int32Array(2 * entry.length), bits: new Uint8Array(2 * bits.length) };
    this.#found.entry.set(entry);
    this.#found.bits.set(bits);
  }

  #addNonMated(a: Float32Array, b: Float32Array): void {
    const limits = this.#options.merges.map(({ scales }) => leastBest(a, b, scales));
    const leastOld = limits.reduce((least, limit) => Math.min(least, limit.old), Number.POSITIVE_INFINITY);
    const leastNew = limits.reduce((least, limit) => Math.min(least, limit.new), Number.POSITIVE_INFINITY);
    for (let j = 0; j < a.length; j++) {
      const x = a[j]!;
      const y = b[j]!;
      if ((x < leastOld && y < leastNew) || (x === NO_SCORE && y === NO_SCORE)) continue;
      this.#nonMatedEntry.push(j);
      this.#best.old.push(x);
      this.#best.new.push(y);
    }
    this.#nonMatedFrom.push(this.#nonMatedEntry.length);
  }

  lists(): SearchLists {
    return {
      size: this.#part.size,
      mated: {
        own: this.#own.values,
        oldScore: this.#scores.old.values,
        newScore: this.#scores.new.values,
        dead: this.#dead.values,
        from: this.#matedFrom.values,
        entry: this.#matedEntry.values,
        ahead: this.#ahead.values,
      },
      nonMated: {
        count: this.#nonMatedFrom.length - 1,
        from: this.#nonMatedFrom.values,
        entry: this.#nonMatedEntry.values,
        oldScore: this.#best.old.values,
        newScore: this.#best.new.values,
      },
    };
  }
}

type ProbeBlocks = {
  readonly old: SimilarityBlock<Float32Array>;
  readonly new: SimilarityBlock<Float32Array>;
  readonly row: number;
};

/** `AHEAD` bits that count in states of the own entry that are not dead. */
function neededBits(dead: number, rankFusion: boolean): number {
  const alive = (state: number): boolean => (dead & state) === 0;
  const direct = (alive(DEAD.OLD) ? AHEAD.OO | AHEAD.ON : 0) | (alive(DEAD.NEW) ? AHEAD.NN | AHEAD.NO : 0);
  const calibrated =
    (alive(DEAD.OLD_CALIBRATED) ? AHEAD.OO | AHEAD.ON_CALIBRATED : 0) |
    (alive(DEAD.NEW_CALIBRATED) ? AHEAD.NN | AHEAD.NO_CALIBRATED : 0);
  return direct | calibrated | (rankFusion ? AHEAD.OO | AHEAD.NN : 0);
}

/** Scores that an entry must reach, before or after it moves, to be the most similar one in any mixture: those of max min(a, b). */
function leastBest(a: Float32Array, b: Float32Array, scales: ScaledMerge['scales']): { old: number; new: number } {
  let best = Number.NEGATIVE_INFINITY; // on the common scale
  let [old, moved] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY]; // the same in each space
  for (let j = 0; j < a.length; j++) {
    if (!(a[j]! > old && b[j]! > moved)) continue;
    const value = Math.min(scales.old(a[j]!), scales.new(b[j]!));
    if (!(value > best)) continue;
    best = value;
    old = leastScore(scales.old, best);
    moved = leastScore(scales.new, best);
  }
  return { old, new: moved };
}
