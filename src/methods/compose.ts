import type { Tensor } from '../torch/index.ts';
import type {
  Classifier,
  ConfiguredMethod,
  EpochStart,
  LossTerms,
  MethodInstance,
  OldModelInput,
  TrainingStep,
} from './method.ts';

/** Name of the classification term of every method. */
const CLASSIFY = 'classify';

/** Why methods do not go together, as a recipe's error says it; undefined if they do. */
export function compositionProblem(
  parts: readonly Pick<ConfiguredMethod, 'name' | 'replacesRows'>[],
): string | undefined {
  const names = parts.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) return `${twice} is listed twice, expected each method once`;
  const replacing = parts.filter(({ replacesRows }) => replacesRows).map(({ name }) => name);
  return replacing.length > 1
    ? `${replacing.join(' and ')} replace rows of the same batch, expected at most one such method`
    : undefined;
}

/**
 * Several methods as one. Their terms add up, and what they need of the old model is united. Classification counts once, with the
 * largest weight that a part gives it (HOC gives λ, the others 1): it is that of the part that replaces rows (MixBCT), if there is one. The other parts see the new embeddings of all rows, so that a
 * replaced row has a gradient from them. Each part draws from the streams that it has alone. Its terms, counts, modules and
 * tensors carry its name: `bct.influence`.
 */
export function compose(parts: readonly ConfiguredMethod[]): ConfiguredMethod {
  const union = (inputs: readonly OldModelInput[]): OldModelInput[] => [...new Set(inputs)];
  return {
    name: parts.map(({ name }) => name).join(' + '),
    needs: union(parts.flatMap(({ needs }) => needs)),
    wants: union(parts.flatMap(({ wants }) => wants)),
    projects: parts.every(({ projects }) => projects),
    replacesRows: parts.some(({ replacesRows }) => replacesRows),
    start(setup) {
      const started = parts.map((part) => {
        const { name, replacesRows } = part;
        return { name, replacesRows, run: part.start({ ...setup, rng: setup.rng.split() }) };
      });
      // the classification of replaced rows comes before the parts that share it
      const inOrder = [...started.filter((part) => part.replacesRows), ...started.filter((part) => !part.replacesRows)];
      return {
        modules: prefixed(started.map(({ name, run }) => [name, run.modules])),
        state: prefixed(started.map(({ name, run }) => [name, run.state])),
        written: started.flatMap(({ run }) => run.written ?? []),
        onEpoch: (epoch) =>
          startEpoch(
            started.map(({ run }) => run),
            epoch,
          ),
        terms(step) {
          const head = new SharedClassifier(step);
          const classify: Record<string, LossTerms[string]> = {};
          const own = inOrder.map(({ name, replacesRows, run }) => {
            const count = (what: string, by: number): void => step.count(`${name}: ${what}`, by);
            const terms = run.terms({ ...step, head, rng: step.rng.split(), count });
            const { [CLASSIFY]: classification, ...others } = terms;
            if (classification) {
              const { value, weight } = classify[CLASSIFY] ?? classification;
              classify[CLASSIFY] = { value, weight: Math.max(weight, classification.weight) };
              if (replacesRows) head.classification = classification.value;
            }
            return [name, others] as const;
          });
          return { ...classify, ...prefixed(own) };
        },
      };
    },
  };
}

/** Computes the classification loss of the batch once, however many parts ask for it. */
class SharedClassifier implements Classifier {
  classification: Tensor | undefined;
  readonly weight: Tensor;
  readonly shard: Classifier['shard'];
  readonly #step: TrainingStep;

  constructor(step: TrainingStep) {
    this.#step = step;
    this.weight = step.head.weight;
    this.shard = step.head.shard;
  }

  loss(embeddings: Tensor, labels: Tensor): Tensor {
    const { head, embeddings: news, labels: own } = this.#step;
    if (embeddings !== news || labels !== own) return head.loss(embeddings, labels);
    this.classification ??= head.loss(embeddings, labels);
    return this.classification;
  }

  overClasses(sum: Tensor): Tensor {
    return this.#step.head.overClasses(sum);
  }
}

/** Starts an epoch of every part. The training set is embedded once for all of them. */
async function startEpoch(parts: readonly MethodInstance[], epoch: EpochStart): Promise<void> {
  let embedded: Promise<Float32Array> | undefined;
  const embedTrainSet = (): Promise<Float32Array> => {
    embedded ??= epoch.embedTrainSet();
    return embedded;
  };
  for (const part of parts) await part.onEpoch?.({ ...epoch, embedTrainSet });
}

/** `{ queue }` of the part nccl → `{ 'nccl.queue' }` */
const prefixed = <V>(
  parts: readonly (readonly [name: string, values: Readonly<Record<string, V>> | undefined])[],
): Record<string, V> =>
  Object.fromEntries(
    parts.flatMap(([name, values = {}]) => Object.entries(values).map(([key, value]) => [`${name}.${key}`, value])),
  );
