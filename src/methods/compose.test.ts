// Composed methods: their gradient is the sum of the parts', what the parts share, and what does not go together.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill, fillUnitRows, gap, int64 } from '../../test/helpers/formula.ts';
import { DIFFERENCES } from '../../test/helpers/golden.ts';
import { gradientGap } from '../../test/helpers/gradients.ts';
import { setupOf, stepOf, zeroHead } from '../../test/helpers/step.ts';
import { UserError } from '../base/errors.ts';
import { parseRecipe } from '../runs/load-recipe.ts';
import { differencesFromReference } from '../runs/preset.ts';
import {
  add,
  crossEntropy,
  gradients,
  linear,
  mul,
  requireGrad,
  scope,
  type Tensor,
  toFloat64,
} from '../torch/index.ts';
import { compose, compositionProblem } from './compose.ts';
import {
  type ConfiguredMethod,
  configureMethod,
  type LossTerms,
  type MethodSection,
  type TrainingStep,
} from './index.ts';

/** Sums of the same float64 numbers in another order. */
const FLOAT64_SUMS = 1e-12;
const [B, C, D] = [6, 5, 4];

const L2 = { kind: 'l2', weight: 10, threshold: 0.2, squared: false };
const BCT = { kind: 'bct', weight: 2, scale: 30, marginCos: 0.1 };
const MIXBCT = { kind: 'mixbct', ratio: 0.4, onShortage: 'use-all' };
const compositions = [[L2, BCT], [MIXBCT, BCT], [BCT, MIXBCT, L2]] as const; // biome-ignore format: a table

const composed = (of: readonly object[]): MethodSection => ({ kind: 'compose', of }) as unknown as MethodSection;
const single = (section: object): MethodSection => section as MethodSection;

/** A step in float64 with a softmax head, which counts how often it classifies. */
function stepAt(embeddings: Tensor, changes: Partial<TrainingStep> = {}) {
  const weight = fill([C, D], 1.1, 0.37);
  const seen: Tensor[] = [];
  const loss = (rows: Tensor, labels: Tensor): Tensor => {
    seen.push(rows);
    return crossEntropy(linear(rows, weight), labels);
  };
  const old = {
    oldEmbedding: fillUnitRows([B, D], 0.5, 0.9),
    credible: Int32Array.from([0, 1, 2, 3, 4, 5]),
    oldPrototypes: fillUnitRows([C, D], 0.7, 0.55),
  };
  const given = { embeddings, labels: int64([0, 4, 2, 1, 3, 0]), old };
  return { step: stepOf(given, { head: { ...zeroHead(weight), loss }, ...changes }), seen };
}

const total = (terms: LossTerms): Tensor =>
  Object.values(terms)
    .map(({ value, weight }) => mul(value, weight))
    .reduce((all, term) => add(all, term));
const termsOf = (section: MethodSection, embeddings: Tensor, changes: Partial<TrainingStep> = {}): LossTerms =>
  configureMethod(section)
    .start(setupOf({ oldDim: D, classes: C }))
    .terms(stepAt(embeddings, changes).step);
const news = (): Tensor => fill([B, D], 0.1, 1.3);
const gradientOf = (f: (x: Tensor) => Tensor): Float64Array =>
  scope(() => {
    const leaf = requireGrad(news());
    return toFloat64(gradients(f(leaf), [leaf])[0]!);
  });

test('the gradient of a composition is the sum of its parts’, with one classification, and finite differences', () => {
  for (const of of compositions) {
    const names = of.map(({ kind }) => kind).join(' + ');
    const whole = gradientOf((x) => total(termsOf(composed(of), x)));
    const withoutClassify = ({ classify: _, ...others }: LossTerms): LossTerms => others;
    const replacing = of.find(({ kind }) => kind === 'mixbct') ?? of[0]!;
    const parts = [
      gradientOf((x) => termsOf(single(replacing), x)['classify']!.value),
      ...of
        .filter(({ kind }) => kind !== 'mixbct')
        .map((part) => gradientOf((x) => total(withoutClassify(termsOf(single(part), x))))),
    ];
    const summed = whole.map((_, i) => parts.reduce((value, part) => value + part[i]!, 0));
    assert.ok(gap(whole, summed) < FLOAT64_SUMS, names);
    assert.ok(Math.max(...whole.map(Math.abs)) > 0.01, names);
    assert.ok(gradientGap((x) => total(termsOf(composed(of), x)), news()) < DIFFERENCES, names);
  }
});

test('the classification has the largest weight that a part gives it, in whatever order they are listed', () => {
  const HOC = { kind: 'hoc', lambda: 0.1, scale: 10 };
  const weightOf = (of: Parameters<typeof composed>[0]): number =>
    scope(() => termsOf(composed(of), news())['classify']!.weight);
  assert.deepEqual(
    [[HOC], [HOC, BCT], [BCT, HOC], [HOC, MIXBCT]].map((of) => weightOf(of as never)),
    [0.1, 1, 1, 1],
  );
});

test('rows that MixBCT replaces have a gradient from the other parts alone', () => {
  const whole = gradientOf((x) => total(termsOf(composed([MIXBCT, BCT]), x)));
  const mixed = gradientOf((x) => termsOf(single(MIXBCT), x)['classify']!.value);
  const influence = gradientOf((x) => mul(termsOf(single(BCT), x)['influence']!.value, 2));
  const row = (numbers: Float64Array, i: number): Float64Array => numbers.slice(i * D, (i + 1) * D);
  const replaced = [0, 1, 2, 3, 4, 5].filter((i) => row(mixed, i).every((g) => g === 0));
  assert.equal(replaced.length, Math.floor(B * MIXBCT.ratio));
  for (const i of replaced) {
    assert.ok(gap(row(whole, i), row(influence, i)) < FLOAT64_SUMS);
    assert.ok(row(whole, i).some((g) => Math.abs(g) > 1e-3));
  }
});

test('a batch is classified once, whatever the parts; terms, counts and tensors carry their part’s name', () =>
  scope(() => {
    for (const of of [...compositions, [L2], [MIXBCT]]) {
      const { step, seen } = stepAt(news());
      const method = configureMethod(composed(of)).start(setupOf({ oldDim: D, classes: C }));
      const terms = method.terms(step);
      assert.equal(seen.length, 1);
      const replaces = of.some(({ kind }) => kind === 'mixbct');
      assert.equal(seen[0] === step.embeddings, !replaces);
      const named: Record<string, string> = { l2: 'l2.regress', bct: 'bct.influence' };
      const wanted = ['classify', ...of.flatMap(({ kind }) => named[kind] ?? [])];
      assert.deepEqual(Object.keys(terms).sort(), wanted.sort());
    }
    const counts: string[] = [];
    const of = [BCT, { ...MIXBCT, ratio: 0.1 }];
    termsOf(composed(of), news(), { count: (what) => counts.push(what) });
    assert.deepEqual(counts, ['mixbct: batches too small for the ratio to replace a row']);
    const nccl = { kind: 'nccl', alpha: 1, beta: 0, queueSize: 3, temperature: 1 };
    const advbct = { kind: 'advbct', radius: 0.4, boundaryWeight: 4, adversarialWeight: 4, hidden: 3 };
    const { needs, wants, projects, replacesRows, start } = configureMethod(composed([nccl, advbct, MIXBCT]));
    assert.deepEqual(needs, ['oldEmbedding', 'oldBoundaries', 'credible']);
    assert.deepEqual([wants, projects, replacesRows], [['credible'], false, true]);
    const { modules = {}, state = {}, written } = start(setupOf());
    assert.deepEqual(Object.keys(modules), ['advbct.discriminator', 'advbct.eboundary']);
    assert.deepEqual(Object.keys(state), ['nccl.queue', 'nccl.classes', 'nccl.next']);
    assert.deepEqual(written, Object.values(state));
    for (const part of [...Object.values(modules), ...Object.values(state)]) part.dispose();
  }));

test('MixBCT replaces the rows that it would replace alone, wherever it stands', () =>
  scope(() => {
    const classified = (of: readonly object[]): Float64Array => {
      const { step, seen } = stepAt(news());
      configureMethod(composed(of)).start(setupOf()).terms(step);
      return toFloat64(seen[0]!);
    };
    const { step, seen } = stepAt(news());
    configureMethod(single(MIXBCT)).start(setupOf()).terms(step);
    for (const of of [[MIXBCT], [MIXBCT, BCT], [L2, BCT, MIXBCT]])
      assert.deepEqual(classified(of), toFloat64(seen[0]!));
    assert.notDeepEqual(toFloat64(seen[0]!), toFloat64(step.embeddings));
  }));

test('parts that renew something embed the training set once an epoch; two that replace rows do not go together', async () => {
  const received: Float32Array[] = [];
  const renewing = (name: string): ConfiguredMethod => ({
    ...{ name, needs: ['oldRows'], wants: [], projects: true, replacesRows: true },
    start: () => ({
      terms: () => ({}),
      onEpoch: async ({ embedTrainSet }) => void received.push(await embedTrainSet()),
    }),
  });
  const parts = [renewing('a'), renewing('b')];
  let embedded = 0;
  const embedTrainSet = async (): Promise<Float32Array> => Float32Array.of(++embedded);
  const { onEpoch } = compose(parts).start(setupOf());
  for (const epoch of [0, 1]) await onEpoch!({ epoch, old: {} as never, embedTrainSet });
  assert.deepEqual(
    received.map(([number]) => number),
    [1, 1, 2, 2],
  );
  assert.match(compositionProblem(parts)!, /^a and b replace rows .* at most one/);
  assert.equal(compositionProblem([parts[0]!, { name: 'b', replacesRows: false }]), undefined);
});

test('a recipe composes methods with their defaults; what does not go together is an error at once', () => {
  const parse = (method: object, changes: object = {}) =>
    parseRecipe({ network: { name: 'r18', embeddingDim: 8 }, method, ...changes }, 'a test');
  const problem = (method: object, changes: object = {}): string => {
    try {
      parse(method, changes);
    } catch (error) {
      assert.ok(error instanceof UserError);
      return error.message;
    }
    throw new Error('no error');
  };
  const { method } = parse({ kind: 'compose', of: [{ kind: 'mixbct' }, { kind: 'bct', scale: 8 }] });
  assert.deepEqual(method, {
    kind: 'compose',
    of: [
      { kind: 'mixbct', ratio: 0.3, onShortage: 'use-all' },
      { kind: 'bct', weight: 10, scale: 8, marginCos: 0 },
    ],
  });
  const of = (...kinds: readonly object[]): object => ({ kind: 'compose', of: kinds });
  assert.match(problem(of({ kind: 'bct' }, { kind: 'l2' }, { kind: 'bct' })), /method\.of: bct is listed twice/);
  assert.match(
    problem(of({ kind: 'l2', treshold: 1 }, { kind: 'bct' })),
    /method\.of\.0\.treshold: no such key.*threshold/,
  );
  assert.match(problem(of({ kind: 'l2' }, { kind: 'bct', scale: -1 })), /method\.of\.1\.scale: /);
  assert.match(problem(of({ kind: 'l2' }, of({ kind: 'bct' }))), /method\.of\.1\.kind: /);
  assert.match(problem(of()), /method\.of: /);
  assert.match(problem({ kind: 'compose' }), /method\.of: is missing/);
  assert.match(
    problem(of({ kind: 'l2' }, { kind: 'mixbct' }), { projection: { dim: 4 } }),
    /method mixbct cannot project/,
  );
});

test('the reference preset fills each part, and differences name the part', () => {
  const raw = {
    network: { name: 'r18', embeddingDim: 8 },
    head: { kind: 'softmax' },
    method: { kind: 'compose', of: [{ kind: 'mixbct' }, { kind: 'bct', marginCos: 0.1 }] },
  };
  const plain = parseRecipe(raw, 'a test');
  assert.deepEqual(differencesFromReference(plain), [
    'D-02 schedule.warmupEpochs: 0 (reference: -1)',
    '5.3 method.of.1.weight: 10 (reference: 1)',
    'D-28 method.of.1.scale: 10 (reference: 1)',
    'D-32 method.of.0.onShortage: "use-all" (reference: "stop")',
  ]);
  const reference = parseRecipe(raw, 'a test', { preset: 'reference' });
  assert.deepEqual(differencesFromReference(reference), []);
  assert.equal((reference.method as unknown as { of: { marginCos?: number }[] }).of[1]!.marginCos, 0.1);
});
