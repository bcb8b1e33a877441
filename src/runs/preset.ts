import { COMPOSE, partsOf } from '../methods/method.ts';
import type { Recipe } from './recipe.ts';

/** A place where the reference's behaviour differs from our default. */
export type Difference = {
  /** Entry of the register of defects (methods.md section 9), or the section that describes it. */
  readonly id: string;
  /** Setting of a recipe. */
  readonly path: string;
  readonly reference: unknown;
  /** Of a recipe with one method. */
  readonly applies: (recipe: Recipe) => boolean;
};

const method =
  (...kinds: readonly Recipe['method']['kind'][]) =>
  ({ method: { kind } }: Recipe): boolean =>
    kinds.includes(kind);

/** Every setting in which `preset: reference` differs from the default. */
export const referencePreset: readonly Difference[] = [
  // a whole section before settings in it
  {
    id: 'D-33',
    path: 'schedule',
    reference: { kind: 'step', milestoneEpochs: [20, 26, 32], factor: 0.1, warmupEpochs: 0 },
    applies: method('unibct'),
  },
  { id: 'D-02', path: 'schedule.warmupEpochs', reference: -1, applies: method('bct') },
  { id: 'D-04', path: 'method.refineAxis', reference: 'column', applies: method('unibct') },
  { id: 'D-04', path: 'method.normalizeNew', reference: false, applies: method('unibct') },
  { id: 'D-04', path: 'method.normalizePrototype', reference: false, applies: method('unibct') },
  { id: 'D-06', path: 'method.beta', reference: 0, applies: method('nccl') },
  { id: 'D-09', path: 'method.alpha', reference: 8, applies: method('nccl') },
  { id: '5.5', path: 'method.temperature', reference: 1, applies: method('nccl') },
  { id: '5.4', path: 'method.startEpoch', reference: 10, applies: method('unibct') },
  { id: '5.4', path: 'method.refreshEpochs', reference: [10, 20], applies: method('unibct') },
  { id: '5.6', path: 'method.boundaryWeight', reference: 4, applies: method('advbct') },
  { id: '5.3', path: 'method.weight', reference: 1, applies: method('bct', 'unibct') },
  { id: 'D-28', path: 'method.scale', reference: 1, applies: method('bct', 'unibct') },
  {
    id: 'D-19',
    path: 'network.maskRatio',
    reference: 0.1,
    applies: ({ network: { name } }) => name.endsWith('_mask_005'),
  },
  { id: 'D-29', path: 'head.sineFloor', reference: 0, applies: ({ head }) => head.kind === 'arcface' },
  { id: 'D-32', path: 'method.onShortage', reference: 'stop', applies: method('mixbct') },
];

/** Repairs of the reference that every preset keeps. */
export const repairsInEveryPreset: readonly string[] = [
  'D-03, D-33: one precision for every method, float32 unless the recipe says otherwise; the reference computes old softmax models, BCT, UniBCT and AdvBCT in fp16 and the others in float32',
  'D-20: batches are accumulated where the recipe says so',
  'D-22: processes leave out the same steps when gradients overflow',
  'D-07: features are extracted without random flips (mixbct extract --flip random has them)',
  'D-05: rows are drawn from a seeded stream',
  'D-15, D-16: prototypes are refined once for each class, by any number of processes',
  'D-14: AdvBCT runs',
];

/**
 * The differences that a recipe may have, with the path of each setting in it. In a composition a method's options stand in its
 * part, and another setting counts if it counts for one of the parts.
 */
function differencesIn(recipe: Recipe): Omit<Difference, 'applies'>[] {
  const parts = [...partsOf(recipe.method).entries()];
  return referencePreset.flatMap(({ applies, path, ...difference }) => {
    const found = parts.filter(([, part]) => applies({ ...recipe, method: part }));
    const paths = found.map(([i]) =>
      recipe.method.kind === COMPOSE ? path.replace(/^method\./, `method.of.${i}.`) : path,
    );
    return [...new Set(paths)].map((place) => ({ ...difference, path: place }));
  });
}

const at = (value: unknown, path: readonly string[]): unknown =>
  path.reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], value);

/** Fills what a raw recipe leaves open with the reference's settings. `recipe` is the parsed recipe with defaults. → a copy */
export function withReference(raw: unknown, recipe: Recipe): unknown {
  const result = structuredClone(raw) as Record<string, unknown>;
  for (const { path, reference } of differencesIn(recipe)) {
    const keys = path.split('.');
    if (at(raw, keys) !== undefined) continue;
    let node = result;
    for (const key of keys.slice(0, -1)) {
      node[key] ??= structuredClone(at(recipe, [key]));
      node = node[key] as Record<string, unknown>;
    }
    node[keys.at(-1)!] = reference;
  }
  return result;
}

/** The settings of a recipe that differ from the reference, one line each: `D-28 method.scale: 10 (reference: 1)`. */
export function differencesFromReference(recipe: Recipe): string[] {
  return differencesIn(recipe)
    .filter(({ path, reference }) => !same(at(recipe, path.split('.')), reference))
    .map(
      ({ id, path, reference }) =>
        `${id} ${path}: ${JSON.stringify(at(recipe, path.split('.')))} (reference: ${JSON.stringify(reference)})`,
    );
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
