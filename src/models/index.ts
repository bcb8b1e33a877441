import type { Rng } from '../base/rng.ts';
import type { Module } from '../nn/index.ts';
import { Iresnet } from './iresnet.ts';
import { MobileFaceNet, type MobileFaceNetSize } from './mobilefacenet.ts';
import type { BackboneName } from './names.ts';
import type { BackboneOptions } from './options.ts';
import { Vit, type VitSize } from './vit.ts';

export { type BackboneName, backboneNames } from './names.ts';
export type { BackboneOptions } from './options.ts';

/** Options that only some backbones know. */
export const ownOptions = ['dropout', 'dropPath', 'maskRatio'] as const;
export type OwnOption = (typeof ownOptions)[number];

export type Backbone = {
  make(options: BackboneOptions, rng: Rng): Module;
  /** Which of the options it knows that not all know. */
  readonly takes: readonly OwnOption[];
  /** Its own values of options that a recipe leaves open. */
  readonly defaults: Partial<BackboneOptions>;
};

const iresnet = (
  depths: ConstructorParameters<typeof Iresnet>[0],
  defaults: Partial<BackboneOptions> = {},
): Backbone => ({
  make: (options, rng) => new Iresnet(depths, options, rng),
  takes: ['dropout'],
  defaults,
});
const mobileFaceNet = (size: MobileFaceNetSize): Backbone => ({
  make: (options, rng) => new MobileFaceNet(size, options, rng),
  takes: [],
  defaults: {},
});
const vit = (size: VitSize, defaults: Partial<BackboneOptions>): Backbone => ({
  make: (options, rng) => new Vit(size, options, rng),
  takes: ['dropPath', 'maskRatio'],
  defaults,
});

/** Every backbone, by the names that the reference gives them (methods.md 3). */
export const backbones = {
  r18: iresnet([2, 2, 2, 2]),
  r34: iresnet([3, 4, 6, 3]),
  r50: iresnet([3, 4, 14, 3]),
  r100: iresnet([3, 13, 30, 3]),
  r200: iresnet([6, 26, 60, 6]),
  r2060: iresnet([3, 128, 896, 3], { checkpointEvery: 9 }), // the reference: 100 segments of stage 3
  mbf: mobileFaceNet({ scale: 2, blocks: [1, 4, 6, 2] }),
  mbf_large: mobileFaceNet({ scale: 4, blocks: [2, 8, 12, 4] }),
  vit_t: vit({ dim: 256, depth: 12 }, { dropPath: 0.1, maskRatio: 0.1 }),
  vit_t_dp005_mask0: vit({ dim: 256, depth: 12 }, { dropPath: 0.05 }),
  vit_s: vit({ dim: 512, depth: 12 }, { dropPath: 0.1, maskRatio: 0.1 }),
  vit_s_dp005_mask_0: vit({ dim: 512, depth: 12 }, { dropPath: 0.05 }),
  vit_b: vit({ dim: 512, depth: 24 }, { dropPath: 0.1, maskRatio: 0.1, checkpointEvery: 1 }),
  vit_b_dp005_mask_005: vit({ dim: 512, depth: 24 }, { dropPath: 0.05, maskRatio: 0.05, checkpointEvery: 1 }),
  vit_l_dp005_mask_005: vit({ dim: 768, depth: 24 }, { dropPath: 0.05, maskRatio: 0.05, checkpointEvery: 1 }),
} as const satisfies Readonly<Record<BackboneName, Backbone>>;

/** A fresh backbone: images [B, 3, S, S] → embeddings [B, D], always and only. Options left out are its own. */
export const makeBackbone = (name: BackboneName, options: BackboneOptions, rng: Rng): Module =>
  backbones[name].make({ ...backbones[name].defaults, ...options }, rng);
