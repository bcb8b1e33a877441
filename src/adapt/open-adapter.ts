import { basename } from 'node:path';
import { digestOf } from '../artifacts/digest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { unitEmbeddings, zeroRows } from '../eval/index.ts';
import type { AppliedAdapter } from '../features/feature-set-artifact.ts';
import type { FeaturesInfo } from '../features/index.ts';
import { keep, readSafetensors, scope } from '../torch/index.ts';
import {
  type AdapterInfo,
  type AdapterSide,
  adapterArtifact,
  adapterFile,
  methodText,
  sidesOf,
} from './adapter-artifact.ts';
import { type AdapterMap, mapFlat } from './adapter-map.ts';

/** A feature set, or a file of embeddings. */
export type EmbeddingsOfModel = {
  readonly path: string;
  readonly info: Pick<FeaturesInfo, 'model' | 'dim'> & { readonly adapter?: AppliedAdapter | undefined };
};

/** An adapter that was fitted: maps embeddings of one model into the space of the other. */
export class Adapter implements Disposable {
  readonly path: string;
  readonly info: AdapterInfo;
  readonly #map: AdapterMap;

  private constructor(path: string, info: AdapterInfo, map: AdapterMap) {
    this.path = path;
    this.info = info;
    this.#map = map;
  }

  /** @throws FileError if `path` is no adapter, or its file is not the one that its manifest describes. */
  static open(path: string): Adapter {
    const info = adapterArtifact.open(path);
    adapterArtifact.verify(path, info);
    return scope(() => {
      const map = Object.fromEntries(readSafetensors(adapterFile(path)).tensors);
      requireShapes(path, info, map);
      for (const value of Object.values(map)) keep(value);
      return new Adapter(path, info, map);
    });
  }

  /** The model whose embeddings it maps, and the one into whose space. */
  get sides(): { readonly from: AdapterSide; readonly to: AdapterSide } {
    return sidesOf(this.info);
  }

  /** Embeddings of any length, flat [K · P] → [K · Q]. Zeros, which are no embeddings, stay zeros. `name`: for messages. */
  map(rows: Float32Array, name: string): Float32Array {
    const { from, to } = this.sides;
    const mapped = mapFlat(this.#map, unitEmbeddings(rows, from.dim, name).rows, from.dim, this.info.blend);
    for (const row of zeroRows(rows, from.dim)) mapped.fill(0, row * to.dim, (row + 1) * to.dim);
    return mapped;
  }

  /** What the manifest of mapped features tells of it. */
  applied(): AppliedAdapter {
    const { digest, direction, dataset, old, new: newer } = this.info;
    const { from, to } = this.sides;
    return {
      digest,
      method: methodText(this.info),
      direction,
      from: from.model?.digest ?? null,
      to: to.model?.digest ?? null,
      fittedOn: { dataset, features: [old.features, newer.features] },
    };
  }

  /** The model that is the mapped one with this adapter, for manifests. */
  modelThrough<M extends { readonly name: string; readonly digest: string }>(model: M): M {
    const { digest, blend } = this.info;
    const parts = blend === undefined ? [digest] : [digest, `blend ${blend}`];
    return { ...model, name: `${model.name} through ${basename(this.path)}`, digest: digestOf(model.digest, ...parts) };
  }

  /** @throws UserError if a set does not hold embeddings of the model that it maps. */
  requireSource({ path, info }: EmbeddingsOfModel): void {
    const { from, to } = this.sides;
    const isOf = ({ model, dim }: AdapterSide): boolean =>
      (info.model?.digest ?? null) === (model?.digest ?? null) && info.dim === dim;
    if (isOf(from) && !info.adapter) return;
    const [wanted, other, otherDirection] =
      this.info.direction === 'query' ? ['new', 'old', 'gallery'] : ['old', 'new', 'query'];
    const through = info.adapter ? ', through an adapter' : '';
    throw new UserError(
      `${this.path} maps features of the ${wanted} model (${modelText(from)}), ${path} holds others (${modelText(info)}${through})`,
      {
        hint: isOf(to)
          ? `these are of the ${other} model; the other direction needs an adapter of its own: mixbct adapt fit --direction ${otherDirection}`
          : 'extract the features with that model, or fit an adapter for this one with: mixbct adapt fit',
      },
    );
  }

  /** @throws UserError if a set is not of the model into whose space it maps. */
  requireTarget({ path, info }: EmbeddingsOfModel): void {
    const { to } = this.sides;
    if ((info.model?.digest ?? null) === (to.model?.digest ?? null) && info.dim === to.dim) return;
    throw new UserError(`${this.path} does not map into the space of ${path} (${modelText(info)})`, {
      hint: 'fit an adapter between these two models with: mixbct adapt fit',
    });
  }

  [Symbol.dispose](): void {
    for (const value of Object.values(this.#map)) value.dispose();
  }
}

const modelText = ({ model, dim }: Pick<AdapterSide, 'dim'> & { readonly model: AdapterSide['model'] }): string =>
  `${model ? `${model.name} ${model.digest}` : 'from outside'}, ${dim} dimensions`;

/** @throws FileError if the tensors are not those of a map between spaces of the manifest's dimensions. */
function requireShapes(path: string, info: AdapterInfo, map: AdapterMap): void {
  const { from, to } = sidesOf(info);
  const hidden = map['hidden.bias']?.numel ?? 0;
  const linear = { weight: [to.dim, from.dim], bias: [to.dim] };
  const residual = {
    'hidden.weight': [hidden, from.dim],
    'hidden.bias': [hidden],
    'residual.weight': [to.dim, hidden],
    'residual.bias': [to.dim],
  };
  const wanted = info.method === 'identity' ? {} : { ...linear, ...(hidden > 0 && residual) };
  const text = (shapes: readonly (readonly [string, readonly number[]])[]): string =>
    shapes
      .map(([name, shape]) => `${name} [${shape.join(', ')}]`)
      .sort()
      .join(', ');
  const shapes = Object.entries(map).map(([name, { shape }]) => [name, shape] as const);
  const [found, expected] = [text(shapes), text(Object.entries(wanted))];
  const needsOneSpace = info.method === 'identity' ? 'the identity' : info.blend !== undefined ? 'a blend' : null;
  if (needsOneSpace && from.dim !== to.dim)
    throw new FileError(
      path,
      `is ${needsOneSpace} between ${from.dim} and ${to.dim} dimensions`,
      adapterArtifact.again,
    );
  if (found !== expected)
    throw new FileError(
      adapterFile(path),
      `holds ${found || 'no tensors'}, wanted ${expected || 'none'}`,
      adapterArtifact.again,
    );
}
