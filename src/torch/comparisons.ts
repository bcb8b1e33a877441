// Embeddings that are compared: products of their rows, and what pairs and searches take from them (native/torch/products.cc,
// templates.cc, searches.cc). All on the CPU.
import { aten } from './aten.ts';
import type { Tensor } from './tensor-types.ts';

/** Operators that native/torch adds to libtorch's. */
const operators = aten as unknown as {
  readonly 'mixbct::pack_rows': (b: Tensor, order: Tensor | null) => Tensor;
  readonly 'mixbct::products_with_rows': (out: Tensor, a: Tensor, packed: Tensor) => void;
  readonly 'mixbct::row_products': (a: Tensor, rowsOfA: Tensor, b: Tensor, rowsOfB: Tensor) => Tensor;
  readonly 'mixbct::tally_searches': (...values: readonly (Tensor | number | null)[]) => Tensor;
  readonly 'mixbct::pool_rows': (...columns: readonly Tensor[]) => void;
  readonly 'mixbct::pick_products': (...values: readonly (Tensor | number)[]) => void;
  readonly 'mixbct::count_impostors': (...columns: readonly Tensor[]) => number;
};

/** Rows b [n, k], or those of `order` [m] int32, as `productsWithRows_` takes them. float32 or float64, on the CPU */
export const packRows = (b: Tensor, order: Tensor | null = null): Tensor => operators['mixbct::pack_rows'](b, order);

/** Writes a [n, k] · bᵀ into `into` [n, m]. A sum is taken over k in order, so that equal rows have equal products. */
export const productsWithRows_ = (into: Tensor, a: Tensor, packed: Tensor): void =>
  operators['mixbct::products_with_rows'](into, a, packed);

/**
 * The products [K] of rows `rowsOfA` [K] int32 of a [n, k] with rows `rowsOfB` [K] int32 of b [m, k], each the same number as
 * `productsWithRows_` has for the two.
 */
export const rowProducts = (a: Tensor, rowsOfA: Tensor, b: Tensor, rowsOfB: Tensor): Tensor =>
  operators['mixbct::row_products'](a, rowsOfA, b, rowsOfB);

/**
 * Adds K entries of a gallery to what P probes have found in it. Entry k is number `entries[k]`, its similarities to the probes are in
 * row `rows[k]` of `products` [N, M], those of probe p in column `columns[p]`, or p. A probe has `own`, its similarity to its own entry
 * `ownEntry` (NaN and -1: it has none).
 *
 * best [P]: the largest similarity to another entry; ahead [P] int32 grows by those at least as similar as the own one, equal [P] int32
 * by those exactly as similar. products, best and own are float32 or float64.
 * @returns pairs of an entry's k and a probe whose similarity lies within `rounding` of the own one without being equal: they are in
 * `best` but not counted. [C, 2] int32
 */
export const tallySearches_ = (
  { best, ahead, equal }: { readonly best: Tensor; readonly ahead: Tensor; readonly equal: Tensor },
  {
    products,
    rows,
    entries,
    columns,
    own,
    ownEntry,
    rounding,
  }: {
    readonly products: Tensor;
    readonly rows: Tensor;
    readonly entries: Tensor;
    readonly columns: Tensor | null;
    readonly own: Tensor;
    readonly ownEntry: Tensor;
    readonly rounding: number;
  },
): Tensor =>
  operators['mixbct::tally_searches'](
    ...[best, ahead, equal, products, rows, entries, columns, own, ownEntry, rounding],
  );

/**
 * Adds rows to the sums of their templates: sums [T, D] += x [R, D] times weights [R], at places [R] int32; lengths [T] += the length of
 * each. x is float32 or float64, all other numbers float64.
 */
export const poolRows_ = (sums: Tensor, lengths: Tensor, x: Tensor, places: Tensor, weights: Tensor): void =>
  operators['mixbct::pool_rows'](sums, lengths, x, places, weights);

/**
 * Writes the scores [K] of those pairs whose row is one of products [N, M], the first of which is row `first`: rounded to a multiple of
 * `grid`, in -1 … 1. If the product is 0 and the row or the column is marked as zeros, it is -infinity. A pair's row is
 * `rowOf[rows[k]]`, its column `columnOf[columns[k]]`, all int32.
 */
export const pickProducts_ = (
  scores: Tensor,
  products: Tensor,
  {
    first,
    rows,
    rowOf,
    columns,
    columnOf,
    grid,
    zeroRows,
    zeroColumns,
  }: {
    readonly first: number;
    readonly rows: Tensor;
    readonly rowOf: Tensor;
    readonly columns: Tensor;
    readonly columnOf: Tensor;
    readonly grid: number;
    readonly zeroRows: Tensor;
    readonly zeroColumns: Tensor;
  },
): void =>
  operators['mixbct::pick_products'](
    scores,
    products,
    first,
    rows,
    rowOf,
    columns,
    columnOf,
    grid,
    zeroRows,
    zeroColumns,
  );

/**
 * Counts scores [K] whose `same` [K] uint8 is 0: in `tied` [G] at the first of the ascending `genuine` [G] that equals it, else in
 * `between` [G + 1]. `first` [S + 1] int32: how many genuine scores lie in lower ones of S equal steps of [-1, 1]. → how many
 */
export const countImpostors_ = (
  genuine: Tensor,
  first: Tensor,
  scores: Tensor,
  same: Tensor,
  between: Tensor,
  tied: Tensor,
): number => operators['mixbct::count_impostors'](genuine, first, scores, same, between, tied);
