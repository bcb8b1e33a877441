import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { didYouMean } from '../base/suggestion.ts';
import { packageRoot, shippedFiles } from '../base/version.ts';

// The reference's configurations, from one table instead of a file each (methods.md 0, 1.5, 2.12, 5). Class and image
// counts come from the data (D-10), paths from the command line (D-11).

const methods: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  MixBCT: { kind: 'mixbct', ratio: 0.3 },
  L2: { kind: 'l2', weight: 10, threshold: 0 },
  weakenedL2: { kind: 'l2', weight: 10, threshold: 0.2 },
  BCT: { kind: 'bct' },
  UniBCT: { kind: 'unibct' },
  NCCL: { kind: 'nccl' },
  AdvBCT: { kind: 'advbct' },
};

/** For each scenario the old models it is published with: loss and dimension. */
const scenarios: Readonly<Record<string, readonly (readonly [loss: 'arc' | 'softmax', dim: number])[]>> = {
  OPclass: [['arc', 512], ['softmax', 128], ['softmax', 256]],
  OPdata: [['arc', 512], ['softmax', 512]],
  EXclass: [['arc', 512], ['softmax', 128]],
  EXdata: [['arc', 512], ['softmax', 512]],
}; // biome-ignore format: a table

/** Old models and oracles: name, network, head, dimension. */
const singles: readonly (readonly [name: string, network: string, head: 'arc' | 'softmax', dim: number])[] = [
  ['f512_r18_arc_class30', 'r18', 'arc', 512],
  ['f512_r18_arc_data30', 'r18', 'arc', 512],
  ['f128_r18_softmax_class30', 'r18', 'softmax', 128],
  ['f256_r18_softmax_class30', 'r18', 'softmax', 256],
  ['f512_r18_softmax_data30', 'r18', 'softmax', 512],
  ['f128_r18_softmax_data30', 'r18', 'softmax', 128],
  ['f128_r50_arc_data100', 'r50', 'arc', 128],
  ['f256_r50_arc_data100', 'r50', 'arc', 256],
  ['f512_r50_arc_data100', 'r50', 'arc', 512],
];

/** The 8 × 128 of the reference's eight processes. */
const GLOBAL_BATCH = 1024;
const heads = { arc: { kind: 'arcface', marginRad: 0.5, scale: 64 }, softmax: { kind: 'softmax' } } as const;

/** Where OPclass recipes of MixBCT and L2 carry another data set's numbers (D-10). */
const D10 = { classes: 93_431, images: 3_625_372 } as const;

type Raw = Readonly<Record<string, unknown>>;
export type NamedRecipe = {
  readonly name: string;
  /** One line for a list. */
  readonly summary: string;
  /** As a YAML file would hold it. */
  readonly raw: Raw;
};

const scenarioRecipes: readonly NamedRecipe[] = Object.entries(scenarios).flatMap(([scenario, olds]) =>
  Object.entries(methods).flatMap(([method, section]) =>
    olds.map(([loss, dim]) => {
      const mistaken = scenario === 'OPclass' && ['mixbct', 'l2'].includes(section['kind'] as string);
      return {
        name: `${scenario}_ms1mv3_r18_to_r50_${method}_${loss}_to_arc_f${dim}`,
        summary: `new r50 by ${method}, D = ${dim}, for the gallery of an r18 trained with ${loss === 'arc' ? 'ArcFace' : 'softmax'}`,
        raw: {
          network: { name: 'r50', embeddingDim: dim },
          head: heads.arc,
          method: section,
          batchSize: GLOBAL_BATCH,
          ...(mistaken && { inReference: D10 }),
        },
      };
    }),
  ),
);

const singleRecipes: readonly NamedRecipe[] = singles.map(([name, network, head, dim]) => ({
  name,
  summary: `${network === 'r18' ? 'old model' : 'oracle'}: ${network}, ${head === 'arc' ? 'ArcFace' : 'softmax'}, D = ${dim}`,
  raw: { network: { name: network, embeddingDim: dim }, head: heads[head], batchSize: GLOBAL_BATCH },
}));

export const namedRecipes: readonly NamedRecipe[] = [...singleRecipes, ...scenarioRecipes];

/** The recipe of that name as a file would hold it, or undefined. Under the reference preset D-10 is taken back. */
export function namedRecipe(name: string, preset: 'default' | 'reference' = 'default'): Raw | undefined {
  const found = namedRecipes.find((recipe) => recipe.name === name);
  if (!found) return undefined;
  const { inReference, ...raw } = found.raw;
  return { name, ...raw, ...(preset === 'reference' && inReference !== undefined && { pretend: inReference }) };
}

/** The recipe files that come with mixbct. What one trains is the beginning of its first comment. */
export const shippedRecipes = (): Pick<NamedRecipe, 'name' | 'summary'>[] =>
  shippedFiles('recipes').map((name) => {
    const [first = ''] = readFileSync(join(packageRoot, name), 'utf8').split('\n');
    return { name, summary: first.replace(/^# /, '').split(/[.:](?: |$)/)[0]! };
  });

/** `; did you mean …?` among the named recipes. */
export const suggestName = (word: string): string =>
  didYouMean(
    word,
    namedRecipes.map(({ name }) => name),
  );
