// Products with weights that are packed once, for models that only embed (native/torch/dense.cc). What follows a sum is done
// while it is in a register; an image gives the same bytes in whatever batch, and by however many threads.
import { aten } from './aten.ts';
import type { Tensor } from './tensor-types.ts';

/** Operators that native/torch adds to libtorch's. */
const own = aten as unknown as Readonly<Record<string, (...args: readonly (Tensor | number | boolean)[]) => Tensor>>;

/** Floats in a vector of the inner loops: 16 (AVX-512), 8 (AVX2), 0 on other processors, which lack these operators. */
export const packedLanes = (): number =>
  (aten as unknown as { readonly 'mixbct::dense_lanes': () => number })['mixbct::dense_lanes']();

/** Biases and slopes must have a multiple of it, whatever the processor; what is behind the last column is not seen. */
export const PACKED_COLUMNS = 32;

/** What happens to a sum before it is written. A tensor without elements stands for none. */
export type Finish = {
  readonly columns: number;
  /** [columns, rounded up]; of `packedWinograd` [9, columns, rounded up] */
  readonly bias: Tensor;
  /** PReLU's [columns, rounded up], or none. */
  readonly slope: Tensor;
};

/** weights [depth, K] float32 → what `packedLinear` and `packedConv` take */
export const pack = (weights: Tensor): Tensor => own['mixbct::dense_pack']!(weights);
/** weights [K, C, 3, 3] → what `packedWinograd` takes, four times as large. Source: Lavin and Gray 2016, F(4×4, 3×3) */
export const packWinograd = (weights: Tensor): Tensor => own['mixbct::dense_pack_winograd']!(weights);

/** x [R, C] · packed, finished, + other [R, K] (or none) → [R, K] */
export const packedLinear = (x: Tensor, packed: Tensor, { columns, bias, slope }: Finish, other: Tensor): Tensor =>
  own['mixbct::dense_linear']!(x, packed, columns, bias, slope, other);

/** A layer with packed weights. */
export type PackedLayer = { readonly weights: Tensor; readonly bias: Tensor };

/**
 * x [B, T, E] → [B, T, E]: `qkv` makes heads of q, k and v, one after the other, of rows with mean 0 and variance 1 (+ `eps`); weights
 * are 2^(q · k) over their sum, without a scale.
 */
export const packedAttention = (x: Tensor, eps: number, { weights, bias }: PackedLayer, heads: number): Tensor =>
  own['mixbct::dense_attention']!(x, eps, weights, bias, heads);

/** x [R, C] + second(relu6(first(x with rows of mean 0 and variance 1))) → [R, C]; `hidden`: columns of the first */
export const packedMlp = (x: Tensor, eps: number, hidden: number, first: PackedLayer, second: PackedLayer): Tensor =>
  own['mixbct::dense_mlp']!(x, eps, first.weights, hidden, first.bias, second.weights, second.bias);

export type PackedGeometry = { readonly side: number; readonly stride: number; readonly padding: number };

/** A convolution with weights of [side · side · C, K]: x [B, C, H, W], channels last → [B, K, H', W'], finished, + other (or none) */
export const packedConv = (
  x: Tensor,
  packed: Tensor,
  { side, stride, padding }: PackedGeometry,
  { columns, bias, slope }: Finish,
  other: Tensor,
): Tensor => own['mixbct::dense_conv']!(x, packed, columns, side, stride, padding, bias, slope, other);

/**
 * A 3×3 convolution of stride 1 and padding 1: x [B, C, H, W], channels last → [B, K, H, W], finished, + other (or none). The
 * bias is that of nine places: top, middle and bottom row × left, middle and right column. C and K are multiples of
 * `packedLanes()`; H and W are more than 1.
 */
export const packedWinograd = (x: Tensor, packed: Tensor, { columns, bias, slope }: Finish, other: Tensor): Tensor =>
  own['mixbct::dense_winograd']!(x, packed, columns, bias, slope, other);

/** Each channel by itself: x [B, C, H, W], channels last; weights [side · side, C], C a multiple of `packedLanes()` → [B, C, H', W'] */
export const packedDepthwise = (
  x: Tensor,
  weights: Tensor,
  { side, stride, padding }: PackedGeometry,
  { bias, slope }: Omit<Finish, 'columns'>,
): Tensor => own['mixbct::dense_depthwise']!(x, weights, side, stride, padding, bias, slope);
