// Random protocols of templates, models on them, and a slow search.
import { Rng } from '../../src/base/rng.ts';
import type { Enrolment } from '../../src/data/index.ts';
import type { EvaluateTemplatesOptions, PairBlock, TemplateModel } from '../../src/eval/evaluate-templates.ts';
import { type Templates, templatePositions } from '../../src/eval/templates.ts';

export const unit = (row: readonly number[]): number[] => row.map((v) => v / Math.hypot(...row));

/** Rows as templates with these ids. */
export const templatesOf = (ids: readonly number[], rows: readonly (readonly number[])[]): Templates => ({
  ids: Int32Array.from(ids),
  rows: Float64Array.from(rows.flat()),
  dim: rows[0]!.length,
});
export const SUBJECTS = 24;

/** A random protocol: ids with gaps, two galleries, probes of which some have no mate, all pairs in a drawn order. */
export function protocol(seed: number) {
  const rng = new Rng('protocol').split(seed);
  const ids = Array.from({ length: 80 }, (_, i) => 3 * i + (i % 2));
  const subjectOf = new Map(ids.map((id, i) => [id, i < SUBJECTS ? i : rng.integer(SUBJECTS + 4)]));
  const enrolment = (templates: readonly number[]): Enrolment => ({
    templates: Int32Array.from(templates),
    subjects: Int32Array.from(templates, (id) => subjectOf.get(id)!),
  });
  const galleries = [
    { name: 'G1', ...enrolment(ids.slice(0, SUBJECTS / 2)) },
    { name: 'G2', ...enrolment(ids.slice(SUBJECTS / 2, SUBJECTS)) },
  ];
  const probes = enrolment(ids.slice(SUBJECTS));
  const every = ids.slice(0, SUBJECTS).flatMap((g) => ids.slice(SUBJECTS).map((q) => [g, q] as const));
  const pairs = rng
    .split('order')
    .sample([...every.keys()], 900)
    .map((i) => every[i]!);
  const block = (part: typeof pairs): PairBlock => ({
    gallery: Int32Array.from(part, ([g]) => g),
    query: Int32Array.from(part, ([, q]) => q),
    same: Uint8Array.from(part, ([g, q]) => Number(subjectOf.get(g) === subjectOf.get(q))),
  });
  const blocks = [pairs.slice(0, 300), pairs.slice(300, 310), pairs.slice(310)].map(block);
  return { ids, subjectOf, galleries, probes, blocks, all: block(pairs) };
}

/** A model that puts subjects `spread` apart from what it draws for each template. */
export function model(name: string, seed: number, { ids, subjectOf }: ReturnType<typeof protocol>, noise: number) {
  const dim = 6;
  const row = (rng: Rng): number[] => Array.from({ length: dim }, () => rng.uniform() - 0.5);
  const rows = ids.map((id) => {
    const centre = row(new Rng('subject').split(subjectOf.get(id)!));
    const own = row(new Rng(name).split(seed, id));
    return unit(centre.map((v, d) => v + noise * own[d]!));
  });
  return { name, templates: templatesOf(ids, rows) } satisfies TemplateModel;
}

export const cosine = (a: Templates, id: number, b: Templates, other: number): number => {
  const [i, j] = [templatePositions(a, [id])[0]!, templatePositions(b, [other])[0]!];
  let sum = 0;
  for (let d = 0; d < a.dim; d++) sum += a.rows[i * a.dim + d]! * b.rows[j * b.dim + d]!;
  return sum;
};

/** 6.6 as it reads: rows sorted, own entries taken out. */
export function identifySlowly(gallery: Templates, query: Templates, enrolled: Enrolment, probes: Enrolment) {
  const searches = Array.from(probes.templates, (probe, p) => {
    const list = Array.from(enrolled.templates, (template, g) => ({
      mine: enrolled.subjects[g] === probes.subjects[p],
      score: cosine(gallery, template, query, probe),
    })).sort((a, b) => b.score - a.score);
    return { rank: list.findIndex(({ mine }) => mine), list };
  });
  const mated = searches.filter(({ rank }) => rank >= 0);
  const maxima = searches
    .filter(({ rank }) => rank < 0)
    .map(({ list }) => list[0]!.score)
    .sort((a, b) => b - a);
  const top = (k: number): number => mated.filter(({ rank }) => rank < k).length / mated.length;
  const at = (fpir: number): number => {
    const threshold = maxima[Math.max(Math.floor(maxima.length * fpir) - 1, 0)]!;
    return mated.filter(({ rank, list }) => rank === 0 && list[0]!.score > threshold).length / mated.length;
  };
  return { top, at, mated: mated.length };
}

export const evaluation = (
  set: ReturnType<typeof protocol>,
  models: Partial<EvaluateTemplatesOptions>,
): EvaluateTemplatesOptions => ({
  title: 'random',
  dataset: { path: 'here', digest: '0', images: 80, classes: SUBJECTS, families: null },
  protocol: 'random',
  pairs: { blocks: () => set.blocks },
  identification: { galleries: set.galleries, probes: set.probes },
  candidates: [],
  resamples: 20,
  ...models,
});
