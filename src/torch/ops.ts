// The curated operators: friendly names, checked by tests, one line each. Nothing outside src/torch uses `aten`.

import type { MemoryFormat } from './aten.gen.ts';
import { aten } from './aten.ts';
import { defaultDevice } from './device.ts';
import { scope } from './scope.ts';
import { generator as seeded } from './tensor.ts';
import type { Dtype, Generator, Tensor } from './tensor-types.ts';

/** Operators that native/torch adds to libtorch's. */
const own = aten as unknown as {
  readonly 'mixbct::conv3x3': (x: Tensor, weight: Tensor) => Tensor;
  readonly 'mixbct::batch_norm': (
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    slope: Tensor | null,
    runningMean: Tensor | null,
    runningVar: Tensor | null,
    training: boolean,
    momentum: number,
    eps: number,
  ) => Tensor;
  readonly 'mixbct::prelu': (x: Tensor, slope: Tensor) => Tensor;
  readonly 'mixbct::class_directions': (x: Tensor, starts: Tensor, into: Tensor) => void;
  readonly 'mixbct::class_spread': (x: Tensor, starts: Tensor, factors: Tensor) => [Tensor, Tensor];
  readonly 'mixbct::unit_squares': (x: Tensor) => Tensor;
  readonly 'mixbct::class_directions_of_file': (...place: readonly (Tensor | number | null)[]) => void;
  readonly 'mixbct::class_spread_of_file': (...place: readonly (Tensor | number | null)[]) => [Tensor, Tensor];
  readonly 'mixbct::unit_squares_of_file': (...place: readonly (Tensor | number | null)[]) => Tensor;
  readonly 'mixbct::mark_nearest': (x: Tensor, starts: Tensor, factors: Tensor, keep: number) => Tensor;
  readonly 'mixbct::mark_nearest_of_file': (...place: readonly (Tensor | number | null)[]) => Tensor;
};

type Operand = Tensor | number;
export type MakeOptions = { readonly dtype?: Dtype; readonly device?: string };
export type DimOptions = { readonly dim?: number | readonly number[]; readonly keepDim?: boolean };

// --- making ---------------------------------------------------------------------------------------------------------

export const zeros = (
  shape: readonly number[],
  { dtype = 'float32', device = defaultDevice() }: MakeOptions = {},
): Tensor => aten.zeros(shape, { dtype, device });
export const ones = (
  shape: readonly number[],
  { dtype = 'float32', device = defaultDevice() }: MakeOptions = {},
): Tensor => aten.ones(shape, { dtype, device });
export const full = (
  shape: readonly number[],
  value: number,
  { dtype = 'float32', device = defaultDevice() }: MakeOptions = {},
): Tensor => aten.full(shape, value, { dtype, device });
export const zerosLike = (x: Tensor): Tensor => aten.zeros_like(x);
export const onesLike = (x: Tensor): Tensor => aten.ones_like(x);
export const eye = (n: number, { dtype = 'float32', device = defaultDevice() }: MakeOptions = {}): Tensor =>
  aten.eye(n, { dtype, device });
export const emptyLike = (x: Tensor): Tensor => aten.empty_like(x);
/** Uniform[0, 1) from the default generator. */
export const rand = (
  shape: readonly number[],
  { dtype = 'float32', device = defaultDevice() }: MakeOptions = {},
): Tensor => aten.rand(shape, { dtype, device });
/** A permutation of 0 … n-1 as PyTorch draws it from `torch.Generator().manual_seed(seed)`. → [n] int64 */
export const randomPermutation = (n: number, seed: number): Tensor =>
  aten['randperm.generator'](n, { generator: seeded(seed), dtype: 'int64' });

/** `fill` draws on the CPU, where generators of one's own are, whatever the device of `x`. */
function drawn(x: Tensor, fill: (x: Tensor) => Tensor): Tensor {
  if (x.device === 'cpu') return fill(x);
  return scope(() => copy_(x, fill(zeros(x.shape, { dtype: x.dtype, device: 'cpu' }))));
}
/** Fills with Normal(mean, std) from `rng`, in place. */
export const fillNormal = (x: Tensor, rng: Generator, mean = 0, std = 1): Tensor =>
  drawn(x, (values) => aten.normal_(values, mean, std, { generator: rng }));
/** Fills with Uniform[low, high) from `rng`, in place. */
export const fillUniform = (x: Tensor, rng: Generator, low = 0, high = 1): Tensor =>
  drawn(x, (values) => aten.uniform_(values, low, high, { generator: rng }));

// --- arithmetic (shapes broadcast) ----------------------------------------------------------------------------------

export const add = (a: Tensor, b: Operand, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor =>
  typeof b === 'number' ? aten['add.Scalar'](a, b, alpha) : aten['add.Tensor'](a, b, { alpha });
export const sub = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? aten['sub.Scalar'](a, b) : aten['sub.Tensor'](a, b);
export const mul = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? aten['mul.Scalar'](a, b) : aten['mul.Tensor'](a, b);
export const div = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? aten['div.Scalar'](a, b) : aten['div.Tensor'](a, b);
export const neg = (x: Tensor): Tensor => aten.neg(x);
export const exp = (x: Tensor): Tensor => aten.exp(x);
export const log = (x: Tensor): Tensor => aten.log(x);
export const sqrt = (x: Tensor): Tensor => aten.sqrt(x);
export const square = (x: Tensor): Tensor => aten.square(x);
export const abs = (x: Tensor): Tensor => aten.abs(x);
export const relu = (x: Tensor): Tensor => aten.relu(x);
export const sigmoid = (x: Tensor): Tensor => aten.sigmoid(x);
/** log(1 + eˣ), computed without overflow. */
export const softplus = (x: Tensor): Tensor => aten.softplus(x);
/** Values limited to [low, high]; either bound may be null. */
export const clamp = (x: Tensor, low: number | null, high: number | null = null): Tensor => aten.clamp(x, low, high);
export const greater = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? aten['gt.Scalar'](a, b) : aten['gt.Tensor'](a, b);
/** Whether elements are equal, one by one. */
export const equalElements = (a: Tensor, b: Tensor): Tensor => aten['eq.Tensor'](a, b);
/** `condition ? a : b`, element by element. */
export const where = (condition: Tensor, a: Tensor, b: Tensor): Tensor => aten['where.self'](condition, a, b);

export const add_ = (a: Tensor, b: Tensor, { alpha = 1 }: { readonly alpha?: number } = {}): Tensor =>
  aten['add_.Tensor'](a, b, { alpha });
export const mul_ = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? aten['mul_.Scalar'](a, b) : aten['mul_.Tensor'](a, b);
export const div_ = (a: Tensor, b: Operand): Tensor =>
  typeof b === 'number' ? aten['div_.Scalar'](a, b) : aten['div_.Tensor'](a, b);
/** Adds 1 to an integer tensor, in place. */
export const increment_ = (x: Tensor): Tensor => aten['add_.Scalar'](x, 1);
export const copy_ = (into: Tensor, from: Tensor): Tensor => aten.copy_(into, from);
export const zero_ = (x: Tensor): Tensor => aten.zero_(x);

// --- reductions -----------------------------------------------------------------------------------------------------

const dims = (dim: number | readonly number[]): readonly number[] => (typeof dim === 'number' ? [dim] : dim);

export const sum = (x: Tensor, { dim, keepDim = false }: DimOptions = {}): Tensor =>
  dim === undefined ? aten.sum(x) : aten['sum.dim_IntList'](x, dims(dim), keepDim);
export const mean = (x: Tensor, { dim, keepDim = false }: DimOptions = {}): Tensor =>
  dim === undefined ? aten.mean(x) : aten['mean.dim'](x, dims(dim), keepDim);
/** Euclidean norm over `dim` (over everything if absent). Its gradient at 0 is 0. */
export const norm = (x: Tensor, { dim, keepDim = false }: DimOptions = {}): Tensor =>
  aten.linalg_vector_norm(x, 2, dim === undefined ? null : dims(dim), keepDim);
/**
 * `count` rows of D numbers in float32 in a file that is open for reading: those of `order` [R] int32, where row 0 begins at byte
 * `start`; without `order` they follow each other.
 */
export type FileRows = {
  readonly fd: number;
  readonly start: number;
  readonly dim: number;
  readonly count: number;
  readonly order: Tensor | null;
};
/** Rows x [R, D] in memory, or in a file, of which each thread reads its part. */
type AnyRows = Tensor | FileRows;
const isFile = (x: AnyRows): x is FileRows => 'fd' in x;
const placeOf = ({ fd, start, dim, count, order }: FileRows): (Tensor | number | null)[] => [
  fd,
  start,
  dim,
  count,
  order,
];
/**
 * Means of rows that lie class by class, divided by their length; zeros where there are none.
 * x [R, D], starts [K + 1] int32 → `into` [K, D] float32
 */
export const classDirections_ = (into: Tensor, x: AnyRows, starts: Tensor): void =>
  isFile(x)
    ? own['mixbct::class_directions_of_file'](...placeOf(x), starts, into)
    : own['mixbct::class_directions'](x, starts, into);
/**
 * Of rows that lie class by class, divided by their length (zero rows stay): the mean of each class, zeros where it has no
 * row, and each row's distance to it, squares of differences times `factors`. x [R, D], starts of the classes and end of the
 * last one [K + 1] int32, factors [D] float64 → [K, D], [R] float64
 */
export const classSpread = (x: AnyRows, starts: Tensor, factors: Tensor): [means: Tensor, distances: Tensor] =>
  isFile(x)
    ? own['mixbct::class_spread_of_file'](...placeOf(x), starts, factors)
    : own['mixbct::class_spread'](x, starts, factors);
/** Sums over the rows of x [R, D], divided by their length, of their squares. → [D] float64 */
export const unitSquares = (x: AnyRows): Tensor =>
  isFile(x) ? own['mixbct::unit_squares_of_file'](...placeOf(x)) : own['mixbct::unit_squares'](x);
/** Marks the ceil(keep · n) rows of each class with the least distance as `classSpread` measures it, of equal ones the first. → [R] uint8 */
export const markNearest = (x: AnyRows, starts: Tensor, factors: Tensor, keep: number): Tensor =>
  isFile(x)
    ? own['mixbct::mark_nearest_of_file'](...placeOf(x), starts, factors, keep)
    : own['mixbct::mark_nearest'](x, starts, factors, keep);
/** Largest element along `dim`, which stays with size 1. */
export const largest = (x: Tensor, dim: number): Tensor => aten.amax(x, [dim], true);
/** Positions of the `count` largest elements of each row, the largest first. */
export const largestIndices = (x: Tensor, count: number): Tensor => aten.topk(x, count)[1];
/** Positions that sort each slice along `dim`, smallest first. */
export const argsort = (x: Tensor, dim = -1): Tensor => aten.argsort(x, dim);
/** The same for a vector, equal numbers in their order; the largest first if `descending`. */
export const argsortStable = (x: Tensor, { descending }: { readonly descending: boolean }): Tensor =>
  aten['argsort.stable'](x, { stable: true, descending });
export const floor = (x: Tensor): Tensor => aten.floor(x);
export const all = (x: Tensor): Tensor => aten.all(x);
export const finiteMask = (x: Tensor): Tensor => aten.isfinite(x);
/** Whether all elements are equal, shapes included. */
export const equal = (a: Tensor, b: Tensor): boolean => aten.equal(a, b);

// --- products -------------------------------------------------------------------------------------------------------

export const matmul = (a: Tensor, b: Tensor): Tensor => aten.matmul(a, b);
/** x [.., in] · weight [out, in]ᵀ + bias [out] → [.., out] */
export const linear = (x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor => aten.linear(x, weight, bias);

/** X of A X = B; A [n, n], B [n, k]. */
export const solve = (a: Tensor, b: Tensor): Tensor => aten.linalg_solve(a, b);
/** Singular value decomposition a = u · diag(s) · vh of [n, m], r = min(n, m): u [n, r], s [r] from the largest on, vh [r, m]. */
export const svd = (a: Tensor): [u: Tensor, s: Tensor, vh: Tensor] => aten.linalg_svd(a, false);
/** Eigenvalues [n], from the smallest on, and eigenvectors [n, n], one in each column, of a symmetric matrix. */
export const symmetricEigen = (a: Tensor): [values: Tensor, vectors: Tensor] => aten.linalg_eigh(a);

// --- shapes ---------------------------------------------------------------------------------------------------------

export const transpose = (x: Tensor, a = -2, b = -1): Tensor => aten['transpose.int'](x, a, b);
export const reshape = (x: Tensor, shape: readonly number[]): Tensor => aten.reshape(x, shape);
export const permute = (x: Tensor, order: readonly number[]): Tensor => aten.permute(x, order);
/** All dimensions from `start` on as one. */
export const flatten = (x: Tensor, start = 1): Tensor => aten['flatten.using_ints'](x, start);
export const unsqueeze = (x: Tensor, dim: number): Tensor => aten.unsqueeze(x, dim);
export const narrow = (x: Tensor, dim: number, start: number, length: number): Tensor =>
  aten.narrow(x, dim, start, length);
/** The slice at `index` of `dim`, without that dimension. */
export const select = (x: Tensor, dim: number, index: number): Tensor => aten['select.int'](x, dim, index);
/** Dimensions of size 1 repeated without a copy; -1 leaves one as it is. */
export const expand = (x: Tensor, shape: readonly number[]): Tensor => aten.expand(x, shape);
export const concat = (xs: readonly Tensor[], dim = 0): Tensor => aten.cat(xs, dim);
export const flip = (x: Tensor, axes: readonly number[]): Tensor => aten.flip(x, axes);
export const clone = (x: Tensor): Tensor => aten.clone(x);
export const detach = (x: Tensor): Tensor => aten.detach(x);
export const contiguous = (x: Tensor, format: MemoryFormat = 'contiguous_format'): Tensor =>
  aten.contiguous(x, { memory_format: format });

export type ToOptions = { readonly dtype?: Dtype; readonly device?: string; readonly format?: MemoryFormat };
/** The same values in another type, place or layout; the same memory if nothing has to change. */
export const to = (x: Tensor, { dtype, device, format }: ToOptions): Tensor =>
  aten['to.dtype_layout'](x, { dtype: dtype ?? null, device: device ?? null, memory_format: format ?? null });

// --- rows -----------------------------------------------------------------------------------------------------------

/** Rows (or other slices of `dim`) at `index` [K] int64. */
export const selectRows = (x: Tensor, index: Tensor, dim = 0): Tensor => aten.index_select(x, dim, index);
/** A copy of `x` whose rows `index` [K] are those of `rows` [K, …]. */
export const replaceRows = (x: Tensor, index: Tensor, rows: Tensor): Tensor => aten.index_copy(x, 0, index, rows);
/** Writes `rows` [K, …] at `index` [K], in place. */
export const replaceRows_ = (x: Tensor, index: Tensor, rows: Tensor): Tensor => aten.index_copy_(x, 0, index, rows);
/** Elements at `index` along `dim`; shapes as in libtorch's gather. */
export const gather = (x: Tensor, dim: number, index: Tensor): Tensor => aten.gather(x, dim, index);
/** A copy of `x` with `values` written at `index` along `dim`. */
export const scatter = (x: Tensor, dim: number, index: Tensor, values: Tensor): Tensor =>
  aten['scatter.src'](x, dim, index, values);

// --- networks -------------------------------------------------------------------------------------------------------

export type ConvOptions = { readonly stride?: number; readonly padding?: number; readonly groups?: number };
/** x [B, in, H, W], weight [out, in/groups, k, k] → [B, out, H', W'] */
export const conv2d = (
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null = null,
  { stride = 1, padding = 0, groups = 1 }: ConvOptions = {},
): Tensor => aten.conv2d(x, weight, bias, [stride, stride], [padding, padding], [1, 1], groups);

/** The same with a 3×3 kernel, stride 1, padding 1, no bias: faster on processors where tiles gain (native/torch/conv3x3.cc). */
export const conv3x3 = (x: Tensor, weight: Tensor): Tensor => own['mixbct::conv3x3'](x, weight);

/**
 * Every `step`-th pixel of both sides, from the first one on: the mean over windows of one pixel, for the gradient of a slice
 * does not keep the layout. [B, C, H, W] → [B, C, ⌈H/step⌉, ⌈W/step⌉]
 */
export const subsample = (x: Tensor, step: number): Tensor => aten.avg_pool2d(x, [1, 1], [step, step]);

export type BatchNormState = {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly runningMean: Tensor | null;
  readonly runningVar: Tensor | null;
};
export type BatchNormOptions = {
  readonly training: boolean;
  readonly momentum?: number;
  readonly eps?: number;
  /** Of a PReLU behind it, [C]. */
  readonly slope?: Tensor | null;
};
/**
 * x [B, C, …]. In training the batch's statistics are used, and the running ones, if any, move by `momentum` in place. In bf16, and
 * with a slope in float32 where channels are many, it has passes of its own (native/torch/batch-norm.cc).
 */
export const batchNorm = (
  x: Tensor,
  { weight, bias, runningMean, runningVar }: BatchNormState,
  { training, momentum = 0.1, eps = 1e-5, slope = null }: BatchNormOptions,
): Tensor => own['mixbct::batch_norm'](x, weight, bias, slope, runningMean, runningVar, training, momentum, eps);
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, eps = 1e-5): Tensor =>
  aten.layer_norm(x, weight.shape, weight, bias, eps);
/** x [B, C, …], slope [C] (or [1]): x where positive, slope·x elsewhere. */
export const prelu = (x: Tensor, slope: Tensor): Tensor => own['mixbct::prelu'](x, slope);
/** Zeroes each element with probability `p` and scales the rest by 1/(1-p); draws from the default generator. */
export const dropout = (x: Tensor, p: number): Tensor => aten.dropout(x, p, true);
/** Mean cross-entropy of logits [B, C] against labels [B] int64. */
export const crossEntropy = (logits: Tensor, labels: Tensor): Tensor => aten.cross_entropy_loss(logits, labels);
export const softmax = (x: Tensor, dim = -1): Tensor => aten['softmax.int'](x, dim);
export const logSoftmax = (x: Tensor, dim = -1): Tensor => aten['log_softmax.int'](x, dim);

/** Length below which a row counts as zero and stays zero (PyTorch's default for `normalize`). */
export const NORM_EPS = 1e-12;
/** Rows divided by their length. [.., D] → [.., D] */
export const normalizeRows = (x: Tensor): Tensor => div(x, clamp(norm(x, { dim: -1, keepDim: true }), NORM_EPS));
/** Cosine of every row of `a` [B, D] with every row of `b` [C, D] → [B, C]. */
export const cosines = (a: Tensor, b: Tensor): Tensor => linear(normalizeRows(a), normalizeRows(b));

// --- many tensors at once -------------------------------------------------------------------------------------------

export const foreach = {
  add_: (a: readonly Tensor[], b: readonly Tensor[], alpha = 1): void => aten['_foreach_add_.List'](a, b, { alpha }),
  mul_: (a: readonly Tensor[], by: number): void => aten['_foreach_mul_.Scalar'](a, by),
  addcmul_: (a: readonly Tensor[], b: readonly Tensor[], c: readonly Tensor[], by = 1): void =>
    aten['_foreach_addcmul_.Scalar'](a, b, c, by),
  addcdiv_: (a: readonly Tensor[], b: readonly Tensor[], c: readonly Tensor[], by = 1): void =>
    aten['_foreach_addcdiv_.Scalar'](a, b, c, by),
  add: (a: readonly Tensor[], b: readonly Tensor[], alpha = 1): readonly Tensor[] =>
    aten['_foreach_add.List'](a, b, { alpha }),
  sqrt: (a: readonly Tensor[]): readonly Tensor[] => aten._foreach_sqrt(a),
  addScalar_: (a: readonly Tensor[], value: number): void => aten['_foreach_add_.Scalar'](a, value),
  div_: (a: readonly Tensor[], by: number): void => aten['_foreach_div_.Scalar'](a, by),
  norm: (a: readonly Tensor[]): readonly Tensor[] => aten['_foreach_norm.Scalar'](a, 2),
  /** The largest absolute value of each. */
  largest: (a: readonly Tensor[]): readonly Tensor[] => aten['_foreach_norm.Scalar'](a, Number.POSITIVE_INFINITY),
};
/** Tensors of equal shape, as one with a new first dimension. */
export const stack = (xs: readonly Tensor[]): Tensor => aten.stack(xs);
