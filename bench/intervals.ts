import { Rng } from '../src/base/rng.ts';
import { evaluate } from '../src/eval/index.ts';
import { type Bench, measured, tell } from './bench.ts';

/** Identities of an evaluation set, and how many sets of this size are drawn. */
const sizes = [
  [10, 600],
  [20, 600],
  [50, 400],
  [100, 250],
] as const;
/** Share of sets whose 95 % interval may exclude a difference of 0 between two models of equal quality. */
const BAR = 0.07;
const [IMAGES_EACH, DIM, NOISE] = [6, 16, 1.3];

/** Standard normal numbers. */
const gaussian = (rng: Rng): number =>
  Math.sqrt(-2 * Math.log(1 - rng.uniform())) * Math.cos(2 * Math.PI * rng.uniform());

/** Two models of equal quality: the same identities, some harder than others, with noise of each model's own. */
function equalModels(identities: number, rng: Rng) {
  const draw = rng.split('identities');
  const centres = Float32Array.from({ length: identities * DIM }, () => gaussian(draw));
  const hardness = Float32Array.from({ length: identities }, () => 0.5 + draw.uniform());
  const model = (name: string) => {
    const noise = rng.split(name);
    const rows = Float32Array.from({ length: identities * IMAGES_EACH * DIM }, (_, i) => {
      const identity = Math.floor(i / (IMAGES_EACH * DIM));
      return centres[identity * DIM + (i % DIM)]! + NOISE * hardness[identity]! * gaussian(noise);
    });
    return { name, dim: DIM, rows };
  };
  return { old: model('old'), candidates: [model('new')] };
}

/** How often rank-1 is decided between models of equal quality, by the size of the evaluation set: why a verdict needs 100 identities. */
export const intervals: Bench = {
  summary: 'how often the interval of rank-1 is wrong, by the number of identities',
  async run({ small }) {
    const rows = sizes.map(([identities, sets]) => {
      const count = small ? sets / 10 : sets;
      let [decided, width] = [0, 0];
      for (let set = 0; set < count; set++) {
        const length = identities * IMAGES_EACH;
        const { candidates } = evaluate({
          title: '',
          dataset: { path: '', digest: '' },
          labels: Int32Array.from({ length }, (_, i) => Math.floor(i / IMAGES_EACH)),
          families: new Int32Array(length).fill(-1),
          resamples: 200,
          impostors: 10_000,
          seed: set,
          ...equalModels(identities, new Rng('intervals').split(identities, set)),
        });
        const { criterion, difference } = candidates[0]!.comparisons.find(({ metric }) => metric === 'rank-1')!;
        if (criterion !== 'undecided') decided++;
        width += difference.high - difference.low;
      }
      const row = { identities, sets: count, decided: decided / count, width: width / count };
      tell(
        `  ${identities} identities: ${(100 * row.decided).toFixed(1)} % of ${count} sets decided, mean width ${(100 * row.width).toFixed(1)} points`,
      );
      return row;
    });
    return { ...measured(rows.at(-1)!.decided, BAR, 'lower'), rows };
  },
};
