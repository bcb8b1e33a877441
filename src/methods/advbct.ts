import { z } from 'zod';
import type { Rng } from '../base/rng.ts';
import { BatchNorm, init, Linear, Module, type Pass, parameter } from '../nn/index.ts';
import { add, logSoftmax, mean, narrow, neg, normalizeRows, relu, type Tensor } from '../torch/index.ts';
import { defineMethod } from './method.ts';
import { boundaryLoss, countWithoutBoundary } from './parts/boundary.ts';
import { reverseGradient } from './parts/gradient-scale.ts';

/** Classifies embeddings as new or old. [B, D] → log probabilities of new and of old, [B, 2] */
export class Discriminator extends Module {
  readonly dFc1: Linear;
  readonly dBn1: BatchNorm;
  readonly dFc2: Linear;

  constructor(dim: number, hidden: number, rng: Rng) {
    super();
    this.dFc1 = new Linear(dim, hidden, {}, rng.split('d_fc1'));
    this.dBn1 = new BatchNorm(hidden);
    this.dFc2 = new Linear(hidden, 2, {}, rng.split('d_fc2'));
  }

  override forward(x: Tensor, pass: Pass): Tensor {
    return logSoftmax(this.dFc2.forward(relu(this.dBn1.forward(this.dFc1.forward(x), pass))));
  }
}

/** How far each class's boundary moves towards the common radius, before the sigmoid. [C] */
class ElasticBoundary extends Module {
  readonly weight: Tensor;

  constructor(classes: number, rng: Rng) {
    super();
    this.weight = parameter(init.uniform([classes], 1, rng));
  }

  override forward(): Tensor {
    return this.weight;
  }
}

/**
 * A discriminator learns to tell new embeddings from old ones, and the backbone learns to deceive it. A second term pulls each
 * new embedding into an elastic boundary around its class's old centre.
 */
export const advbct = defineMethod({
  name: 'advbct',
  source: 'AdvBCT, CVPR 2023 (methods.md 5.6, 4.5): as intended, for the reference’s does not run (D-14)',
  needs: ['oldEmbedding', 'oldBoundaries'],
  projects: true,
  options: z.strictObject({
    radius: z.number().positive().max(2).default(0.4).describe('τ, the common radius that all boundaries move towards'),
    boundaryWeight: z.number().min(0).default(20).describe('factor of the distance beyond the boundary'),
    adversarialWeight: z
      .number()
      .min(0)
      .default(4)
      .describe('factor of the adversarial term; it falls over the epochs'),
    hidden: z.int().positive().default(100).describe('width of the discriminator'),
  }),
  search: [
    [4, 10, 20, 40].map((boundaryWeight) => ({ boundaryWeight })),
    [0.3, 1, 4].map((adversarialWeight) => ({ adversarialWeight })),
  ],
  start({ radius, boundaryWeight, adversarialWeight, hidden }, { oldDim, classes, rng }) {
    const discriminator = new Discriminator(oldDim, hidden, rng.split('discriminator'));
    const eboundary = new ElasticBoundary(classes, rng.split('eboundary'));
    return {
      modules: { discriminator, eboundary },
      terms({ embeddings, inOldSpace, labels, head, old, progress, epoch, epochs, pass, group, count }) {
        const unit = normalizeRows(inOldSpace);
        const reversal = 2 / (1 + Math.exp(-10 * progress)) - 1; // 0 → 1
        // two passes, new before old: each updates the running statistics
        const news = discriminator.forward(reverseGradient(unit, reversal), pass);
        const olds = discriminator.forward(old.oldEmbedding, pass);
        const told = neg(add(mean(narrow(news, 1, 0, 1)), mean(narrow(olds, 1, 1, 1))));
        const elastic = { ...old.oldBoundaries, elastic: eboundary.weight, radius };
        count('samples of classes without a boundary', countWithoutBoundary(labels, old.oldBoundaries, group));
        const beyond = boundaryLoss(unit, labels, elastic, group);
        return {
          classify: { value: head.loss(embeddings, labels), weight: 1 },
          boundary: { value: beyond, weight: boundaryWeight },
          adversarial: { value: told, weight: (adversarialWeight * (epochs - epoch + 1)) / epochs },
        };
      },
    };
  },
});
