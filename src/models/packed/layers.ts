// Layers of a model that only embeds: a convolution or linear layer, the batch norms around it, its activation and the sum with
// another branch are one operation.
import type { BatchNorm, Conv2d, Linear } from '../../nn/index.ts';
import { LayerNorm, Module, type PReLU } from '../../nn/index.ts';
import * as torch from '../../torch/index.ts';
import { keep, PACKED_COLUMNS, type Tensor } from '../../torch/index.ts';

/** What a batch norm does in evaluation mode, and a layer norm to normed rows: x · scale + shift, [C] each, float64. */
export type Affine = { readonly scale: Tensor; readonly shift: Tensor };

const wide = (x: Tensor): Tensor => torch.to(x, { dtype: 'float64' });
const affineOf = (norm: BatchNorm | LayerNorm | Affine): Affine => {
  if (!(norm instanceof Module)) return norm;
  if (norm instanceof LayerNorm) return { scale: wide(norm.weight), shift: wide(norm.bias) };
  const { weight, bias, runningMean, runningVar, options } = norm;
  const scale = torch.div(wide(weight), torch.sqrt(torch.add(wide(runningVar), options.eps)));
  return { scale, shift: torch.sub(wide(bias), torch.mul(wide(runningMean), scale)) };
};

/** [.., K] float64 → float32, zeros up to a whole number of panels, outside every scope. */
function padded(x: Tensor): Tensor {
  const columns = x.shape.at(-1)!;
  const zeros = [...x.shape.slice(0, -1), (PACKED_COLUMNS - (columns % PACKED_COLUMNS)) % PACKED_COLUMNS];
  const whole = torch.concat([x, torch.zeros(zeros, { dtype: 'float64' })], -1);
  return keep(torch.to(whole, { dtype: 'float32' }));
}
const none = (): Tensor => keep(torch.zeros([0]));

/** What stands around a layer. */
export type Around = {
  /** The batch norm before it; only of a 3×3 convolution of stride 1. */
  readonly before?: BatchNorm;
  readonly after?: BatchNorm | undefined;
  readonly prelu?: PReLU | undefined;
};

/** A packed layer. `plus` adds another branch, which lies as the result does. */
export abstract class Packed extends Module {
  readonly none = keep(torch.zeros([0]));
  abstract plus(x: Tensor, other: Tensor): Tensor;
  override forward(x: Tensor): Tensor {
    return this.plus(x, this.none);
  }
}

/** Steps one after the other from x on. What a step leaves is freed before the next one, which finds its memory still in the cache. */
export function inTurn<T>(steps: readonly T[], x: Tensor, take: (step: T, x: Tensor) => Tensor): Tensor {
  return steps.reduce((before, step) => {
    const after = torch.scope(() => take(step, before));
    if (before !== x) before.dispose();
    return after;
  }, x);
}

/** Weights [K, …] and the bias of a layer and the batch norm behind it, float64. */
function folded(
  layer: Conv2d | Linear,
  after: BatchNorm | Affine | undefined,
): { readonly weight: Tensor; readonly bias: Tensor } {
  const { weight, bias } = layer;
  const columns = weight.shape[0]!;
  const own = bias ? wide(bias) : torch.zeros([columns], { dtype: 'float64' });
  if (!after) return { weight: wide(weight), bias: own };
  const { scale, shift } = affineOf(after);
  const perColumn = torch.reshape(scale, [columns, ...weight.shape.slice(1).map(() => 1)]);
  return { weight: torch.mul(wide(weight), perColumn), bias: torch.add(torch.mul(own, scale), shift) };
}

const slopeOf = (prelu: PReLU | undefined): Tensor => (prelu ? padded(wide(prelu.weight)) : none());
const packed = (weights: Tensor): Tensor => keep(torch.pack(torch.to(weights, { dtype: 'float32' })));

/** What stands around a linear layer. Before it a layer norm's rows have mean 0 and variance 1 when they come. */
export type AroundLinear = {
  readonly before?: BatchNorm | LayerNorm;
  readonly after?: BatchNorm | Affine;
  /** [channels, places] of what the layer takes when it was flattened channel by channel and now comes place by place. */
  readonly order?: readonly [number, number];
};

/** x [R, in] → [R, out] */
export class PackedLinear extends Packed {
  readonly weights: Tensor;
  readonly bias: Tensor;
  readonly slope = none();
  readonly columns: number;

  constructor(layer: Linear, { before, after, order }: AroundLinear = {}) {
    super();
    const { weight, bias } = folded(layer, after);
    const [outputs, inputs] = weight.shape as [number, number];
    const [channels, places] = order ?? [inputs, 1];
    let [all, offset] = [torch.reshape(weight, [outputs, channels, places]), bias];
    if (before) {
      const { scale, shift } = affineOf(before);
      offset = torch.add(offset, torch.matmul(torch.sum(all, { dim: 2 }), shift));
      all = torch.mul(all, torch.reshape(scale, [1, channels, 1]));
    }
    this.weights = packed(torch.reshape(torch.permute(all, [2, 1, 0]), [inputs, outputs]));
    this.bias = padded(offset);
    this.columns = outputs;
  }

  override plus(x: Tensor, other: Tensor): Tensor {
    return torch.packedLinear(x, this.weights, { columns: this.columns, bias: this.bias, slope: this.slope }, other);
  }
}

/** [B, C, H, W], channels last → its pixels [B · H · W, C], the same memory */
const pixelsOf = (x: Tensor): Tensor => torch.reshape(torch.permute(x, [0, 2, 3, 1]), [-1, x.shape[1]!]);

/** A convolution over all channels. x [B, C, H, W], channels last → [B, K, H', W'] */
export class PackedConv extends Packed {
  readonly weights: Tensor;
  readonly bias: Tensor;
  readonly slope: Tensor;
  readonly #columns: number;
  readonly #geometry: torch.PackedGeometry;

  constructor(layer: Conv2d, { after, prelu }: Omit<Around, 'before'>) {
    super();
    const { weight, bias } = folded(layer, after);
    const [columns, inputs, side] = weight.shape as [number, number, number];
    this.weights = packed(torch.reshape(torch.permute(weight, [2, 3, 1, 0]), [side * side * inputs, columns]));
    this.bias = padded(bias);
    this.slope = slopeOf(prelu);
    this.#columns = columns;
    this.#geometry = { side, stride: layer.geometry.stride, padding: layer.geometry.padding };
  }

  override plus(x: Tensor, other: Tensor): Tensor {
    const finish = { columns: this.#columns, bias: this.bias, slope: this.slope };
    const { side, stride } = this.#geometry;
    if (side > 1 || stride > 1) return torch.packedConv(x, this.weights, this.#geometry, finish, other);
    const [batch, , height, width] = x.shape as [number, number, number, number];
    const rows = torch.packedLinear(
      pixelsOf(x),
      this.weights,
      finish,
      other.shape.length === 4 ? pixelsOf(other) : other,
    );
    return torch.permute(torch.reshape(rows, [batch, height, width, this.#columns]), [0, 3, 1, 2]);
  }
}

/** Whether `PackedWinograd` can take the place of a convolution. */
export const suitsWinograd = ({ weight, keepsSize3x3 }: Conv2d): boolean =>
  keepsSize3x3 && weight.shape.slice(0, 2).every((channels) => channels % torch.packedLanes() === 0);

/** A 3×3 convolution of stride 1 and padding 1 by Winograd's tiles, with the batch norm before it, exact at the border too. */
export class PackedWinograd extends Packed {
  readonly weights: Tensor;
  readonly bias: Tensor;
  readonly slope: Tensor;
  readonly #columns: number;

  constructor(layer: Conv2d, { before, after, prelu }: Around) {
    super();
    const { weight, bias } = folded(layer, after);
    const [columns, inputs] = weight.shape as [number, number];
    let scaled = weight;
    let places = torch.expand(bias, [9, columns]);
    if (before) {
      const { scale, shift } = affineOf(before);
      const per = (x: Tensor): Tensor => torch.reshape(x, [1, inputs, 1, 1]);
      scaled = torch.mul(weight, per(scale));
      // what the shift adds depends on which of the nine weights lie on the image: the padding is 0 behind the batch norm
      const added = torch.sum(torch.mul(weight, per(shift)), { dim: 1 }); // [K, 3, 3]
      const seen = [
        [1, 2],
        [0, 2],
        [0, 1],
      ] as const; // first and last row (column) of weights at top, middle, bottom (left …)
      const sums = seen.flatMap(([top, bottom]) =>
        seen.map(([left, right]) => {
          const rows = torch.narrow(added, 1, top, bottom - top + 1);
          return torch.sum(torch.narrow(rows, 2, left, right - left + 1), { dim: [1, 2] });
        }),
      );
      places = torch.add(places, torch.stack(sums));
    }
    this.weights = keep(torch.packWinograd(scaled));
    this.bias = padded(places);
    this.slope = slopeOf(prelu);
    this.#columns = columns;
  }

  override plus(x: Tensor, other: Tensor): Tensor {
    return torch.packedWinograd(x, this.weights, { columns: this.#columns, bias: this.bias, slope: this.slope }, other);
  }
}

/** A convolution of each channel by itself. */
export class PackedDepthwise extends Module {
  readonly weights: Tensor; // [side · side, C]
  readonly bias: Tensor;
  readonly slope: Tensor;
  readonly #geometry: torch.PackedGeometry;

  constructor(layer: Conv2d, { after, prelu }: Omit<Around, 'before'>) {
    super();
    const { weight, bias } = folded(layer, after);
    const [channels, , side] = weight.shape as [number, number, number];
    const perPlace = torch.contiguous(torch.transpose(torch.reshape(weight, [channels, side * side])));
    this.weights = keep(torch.to(perPlace, { dtype: 'float32' }));
    this.bias = padded(bias);
    this.slope = slopeOf(prelu);
    this.#geometry = { side, stride: layer.geometry.stride, padding: layer.geometry.padding };
  }

  override forward(x: Tensor): Tensor {
    return torch.packedDepthwise(x, this.weights, this.#geometry, { bias: this.bias, slope: this.slope });
  }
}

/** Any other convolution, by libtorch, with the batch norm behind it in its weights. */
export class FoldedConv extends Module {
  readonly weights: Tensor;
  readonly bias: Tensor;
  readonly slope: Tensor | null;
  readonly #geometry: Conv2d['geometry'];

  constructor(layer: Conv2d, { after, prelu }: Omit<Around, 'before'>) {
    super();
    const { weight, bias } = folded(layer, after);
    const float = (x: Tensor): Tensor =>
      keep(torch.to(x, { dtype: 'float32', format: x.shape.length === 4 ? 'channels_last' : 'contiguous_format' }));
    this.weights = float(weight);
    this.bias = float(bias);
    this.slope = prelu ? float(wide(prelu.weight)) : null;
    this.#geometry = layer.geometry;
  }

  override forward(x: Tensor): Tensor {
    const y = torch.conv2d(x, this.weights, this.bias, this.#geometry);
    return torch.contiguous(this.slope ? torch.prelu(y, this.slope) : y, 'channels_last');
  }
}
