import type { Rng } from '../base/rng.ts';
import { parameter } from '../nn/index.ts';
import { defaultUniform } from '../nn/init.ts';
import { crossEntropy, linear, type Tensor } from '../torch/index.ts';
import { Head } from './head.ts';

/** A linear layer with bias and cross-entropy: no normalisation, scale or margin (methods.md 2.4). */
export class Softmax extends Head {
  override readonly clipped = true;
  override readonly weight: Tensor; // [C, D]
  readonly bias: Tensor; // [C]

  constructor(embeddingDim: number, classes: number, rng: Rng) {
    super();
    this.weight = parameter(defaultUniform([classes, embeddingDim], embeddingDim, rng.split('weight')));
    this.bias = parameter(defaultUniform([classes], embeddingDim, rng.split('bias')));
  }

  override logits(embeddings: Tensor): Tensor {
    return linear(embeddings, this.weight, this.bias);
  }

  override loss(embeddings: Tensor, labels: Tensor): Tensor {
    return crossEntropy(this.logits(embeddings), labels);
  }
}
