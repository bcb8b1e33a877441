import * as Plot from '@observablehq/plot';
import type { CandidateResult, Evaluation, ScoreHistogram, TestResult } from '../eval/index.ts';
import { axis, plot } from './chart.ts';
import { linkedTerm } from './definitions.ts';
import { percentWithInterval, rateText, scoreText } from './number-format.ts';
import { type DrawingSize, drawings, shortName, table } from './page-parts.ts';
import { farText } from './threshold-tables.ts';

type Named = { readonly role: string; readonly test: TestResult; readonly scores: ScoreHistogram };

/** How genuine and impostor pairs score by old → old, new → old and new → new, and what the old threshold would do to each. */
export function scoreSection(evaluation: Evaluation, { name }: CandidateResult): string {
  const { models, tests, operatingPoint } = evaluation;
  const old = models.find(({ role }) => role === 'old')!.name;
  const drawn = [
    [old, old],
    [name, old],
    [name, name],
  ].flatMap(([query, gallery]): Named[] => {
    const test = tests.find((one) => one.query === query && one.gallery === gallery);
    return test?.scores ? [{ role: `${query} → ${gallery}`, test, scores: test.scores }] : [];
  });
  if (drawn.length === 0 || !operatingPoint) return '';
  const { threshold, far } = operatingPoint;
  const label = `Scores of genuine and impostor pairs by ${drawn.map(({ role }) => role).join(', ')}, with the old threshold ${scoreText(threshold)}`;
  const rows = drawn.map(({ role, test: { operatingPoint: point } }) => [
    role,
    point ? percentWithInterval(point.atOldThreshold.tar) : '–',
    point ? percentWithInterval(point.atOldThreshold.far, rateText) : '–',
    point ? scoreText(point.keepingFar.threshold.value) : '–',
  ]);
  return `<h4>Scores</h4>
<p>The ${linkedTerm('old threshold')} is ${scoreText(threshold)}: there old → old has a ${linkedTerm('FAR')} of ${farText(far)}. The table says what it would do today. A ${linkedTerm('score')} is a cosine. Each area is a share of its own pairs, so both have the same size.</p>
<p class="key"><span class="genuine">genuine pairs</span> <span class="impostor">impostor pairs</span> <span class="limit">old threshold</span> <span class="own">threshold with the same FAR</span></p>
<figure class="single">${drawings(label, (size) => drawing(drawn, threshold, size))}</figure>
${table(['query → gallery', 'TAR at the old threshold', 'FAR at the old threshold', `threshold for FAR ${farText(far)}`], rows)}`;
}

/** The points without those that stay within `tolerance` of the last one before them and whose next one does: most of a histogram's tails. */
function withoutLevelPoints<T extends { readonly y: number }>(points: readonly T[], tolerance: number): T[] {
  const kept = points.slice(0, 1);
  for (let i = 1; i < points.length; i++) {
    const isLevel = (at: number): boolean => Math.abs(points[at]!.y - kept.at(-1)!.y) <= tolerance;
    if (i === points.length - 1 || !isLevel(i) || !isLevel(i + 1)) kept.push(points[i]!);
  }
  return kept;
}

function drawing(tests: readonly Named[], threshold: number, { width, name }: DrawingSize) {
  const [band, gap] = [name === 'broad' ? 92 : 80, 24];
  const height = tests.length * (band + gap) + 48;
  const shares = (counts: readonly number[]): number[] => {
    const total = counts.reduce((sum, count) => sum + count, 0) || 1;
    return counts.map((count) => count / total);
  };
  const [least, most] = [
    Math.min(...tests.map(({ scores }) => scores.from)),
    Math.max(...tests.map(({ scores: { from, step, genuine } }) => from + step * genuine.length)),
  ];
  const marks = tests.flatMap(({ scores, role, test }, nth): Plot.Markish[] => {
    const base = tests.length - 1 - nth;
    const [genuine, impostor] = [shares(scores.genuine), shares(scores.impostor)];
    const highest = Math.max(...genuine, ...impostor);
    const scaled = (values: readonly number[]) =>
      withoutLevelPoints(
        values.flatMap((value, i) => {
          const y = base + (0.8 * value) / highest;
          const x = scores.from + scores.step * i;
          return [
            { x, y, base },
            { x: x + scores.step, y, base },
          ];
        }),
        0.4 / band,
      );
    const own = test.operatingPoint?.keepingFar.threshold.value ?? Number.NaN;
    const area = (values: readonly number[], colour: string, dashed: boolean): Plot.Markish =>
      Plot.areaY(scaled(values), {
        x: 'x',
        y1: 'base',
        y2: 'y',
        fill: colour,
        fillOpacity: 0.28,
        stroke: colour,
        strokeWidth: 1.2,
        ...(dashed && { strokeDasharray: '3 2' }),
      });
    return [
      Plot.ruleY([base], { stroke: 'var(--line)' }),
      area(impostor, 'var(--c1)', true),
      area(genuine, 'var(--c0)', false),
      ...(Number.isFinite(own) && own !== threshold
        ? [Plot.link([{ x: own, y: base }], { x1: 'x', x2: 'x', y1: base, y2: base + 0.85, stroke: 'var(--c2)', strokeWidth: 2, strokeDasharray: '5 3' })] // biome-ignore format: short
        : []),
      Plot.text([{ x: least, y: base + 0.92 }], { x: 'x', y: 'y', text: () => shortName(role, 40), textAnchor: 'start', fontWeight: 'bold' }), // biome-ignore format: short
    ];
  });
  return {
    height,
    content: plot({
      width,
      height,
      marginLeft: 14,
      marginRight: 14,
      marginTop: 8,
      marginBottom: 40,
      x: { ...axis, domain: [least, most], label: 'score (cosine)', labelAnchor: 'center', labelOffset: 34, ticks: name === 'broad' ? 10 : 5 }, // biome-ignore format: short
      y: { axis: null, domain: [0, tests.length] },
      marks: [
        ...marks,
        ...(Number.isFinite(threshold) ? [Plot.ruleX([threshold], { stroke: 'var(--old)', strokeWidth: 1.8 })] : []),
      ],
    }),
  };
}
