import type { Rng } from '../base/rng.ts';
import type { Module } from '../nn/index.ts';
import { Iresnet, type IresnetOptions, iresnetDepths } from './iresnet.ts';

/** The backbones, by the names that recipes use. */
export const backboneNames = Object.keys(iresnetDepths) as (keyof typeof iresnetDepths)[];
export type BackboneName = (typeof backboneNames)[number];

export type BackboneOptions = IresnetOptions;

/** A fresh backbone: images [B, 3, S, S] → embeddings [B, D], always and only. */
export const makeBackbone = (name: BackboneName, options: BackboneOptions, rng: Rng): Module =>
  new Iresnet(iresnetDepths[name], options, rng);
