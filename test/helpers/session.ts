import { Rng } from '../../src/base/rng.ts';
import type { Head } from '../../src/heads/index.ts';
import { add, mul, sqrt, sum, toNumbers } from '../../src/torch/index.ts';
import { disposeSession, openSession, type Session, sessionState } from '../../src/train/session.ts';
import type { trainStep } from '../../src/train/train-step.ts';
import { pattern } from './images.ts';
import { tinyRecipe } from './recipes.ts';

/** Classes of `tinyBatch`. */
export const CLASSES = 6;

/** A batch of patterns in 6 classes. `repeat` repeats the same images. */
export function tinyBatch(count: number, { side = 16, repeat = 1 } = {}) {
  const once = count / repeat;
  const labels = Int32Array.from({ length: count }, (_, i) => (i % once) % CLASSES);
  const images = new Uint8Array(count * side * side * 3);
  for (const [i, label] of labels.entries()) {
    const gray = pattern(label, i % once, side);
    images.set(
      Uint8Array.from({ length: gray.length * 3 }, (_, k) => gray[Math.floor(k / 3)]!),
      i * gray.length * 3,
    );
  }
  return { images, labels, indices: Int32Array.from({ length: count }, (_, i) => i % once) };
}

/** Settings of one step in a test. */
export const stepAt = (changes: Partial<Parameters<typeof trainStep>[3]> = {}): Parameters<typeof trainStep>[3] => ({
  progress: 0.3,
  epoch: 0,
  epochs: 1,
  rng: new Rng(5),
  count: () => undefined,
  lr: 0.01,
  clipNorm: 5,
  side: 16,
  ...changes,
});

/** `body` with a session of a tiny recipe, which is freed after it. */
export function withSession<T>(changes: Record<string, unknown>, body: (session: Session) => T): T {
  const session = openSession(tinyRecipe(changes), CLASSES, new Rng(1));
  try {
    return body(session);
  } finally {
    disposeSession(session);
  }
}

/** A head whose loss is right and has a gradient of NaN, with regard to the embeddings or to its own weight. */
export const spoiltHead = (head: Head, by: 'embeddings' | 'weight' = 'embeddings'): Head =>
  Object.assign(Object.create(head) as Head, {
    forStep: (...given: Parameters<Head['forStep']>) => {
      const { classifier, chosen } = head.forStep(...given);
      const loss: Head['loss'] = (embeddings, labels) => {
        const spoilt = by === 'weight' ? classifier.weight : embeddings;
        return add(classifier.loss(embeddings, labels), sum(sqrt(mul(spoilt, 0)))); // 0, of infinite slope
      };
      const { weight } = classifier;
      return { classifier: { weight, loss, overClasses: (all: typeof weight) => classifier.overClasses(all) }, chosen };
    },
  });

/** Every number that the next step depends on, by name. */
export const sessionNumbers = (session: Session): Record<string, number[]> =>
  Object.fromEntries([...sessionState(session)].map(([name, value]) => [name, toNumbers(value)]));
