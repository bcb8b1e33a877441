import type { Comparison, Evaluation, TestResult } from '../eval/index.ts';
import { metrics } from '../eval/metrics/index.ts';
import { type Metric, powerOfTen } from '../eval/metrics/metric.ts';
import { gainText, groupDigits, percent, percentagePoints, pointsWithInterval } from './number-format.ts';
import { dataText } from './verdict.ts';

/** Escapes text for HTML and SVG. */
export const htmlText = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

/** A metric of a test; undefined where the test does not have it. */
export const shareOf = ({ name, stored }: Metric, test: TestResult): number | undefined =>
  stored ? stored(test) : test.metrics?.find((metric) => metric.name === name)?.value;

const familyOf = ({ column, name }: Metric): string =>
  column !== null && typeof column === 'object' ? column.family : name;
const levelOf = ({ column }: Metric): number => (column !== null && typeof column === 'object' ? column.level : 0);

/** The metrics that have columns: those of a family together, by level. */
const columnMetrics: readonly Metric[] = [...new Set(metrics.map(familyOf))].flatMap((family) =>
  metrics
    .filter((metric) => metric.column !== null && familyOf(metric) === family)
    .sort((a, b) => levelOf(a) - levelOf(b)),
);

/** A column that follows others of its family is headed by its level alone. */
function headOf({ column }: Metric, before: Metric | undefined): string {
  if (column === null || typeof column === 'string') return column ?? '';
  const level = powerOfTen(column.level);
  return before && familyOf(before) === column.family ? level : `${column.family} ${level}`;
}

export type Table = { readonly header: readonly string[]; readonly rows: readonly (readonly string[])[] };

/** A row for each test, a column for each share that at least one of them has. */
export function testTable(tests: readonly TestResult[]): Table {
  const columns = columnMetrics.filter((metric) => tests.some((test) => shareOf(metric, test) !== undefined));
  return {
    header: ['query → gallery', ...columns.map((metric, i) => headOf(metric, columns[i - 1]))],
    rows: tests.map((test) => [
      testName(test),
      ...columns.map((metric) => percent(shareOf(metric, test) ?? Number.NaN)),
    ]),
  };
}

export const testName = ({ query, gallery }: TestResult): string => `${query} → ${gallery}`;

/** Columns of the table that compares a new model with the old one. */
export const comparisonColumns = [
  'metric',
  'old → old',
  'new → old',
  'difference, 95 %',
  'criterion',
  'update gain',
  'new → new',
  'tax',
] as const;

export const comparisonRow = (c: Comparison): string[] => [
  c.metric,
  percent(c.oldOld),
  percent(c.newOld),
  pointsWithInterval(c.difference),
  c.criterion,
  gainText(c.updateGain),
  percent(c.newNew),
  c.tax ? percentagePoints(c.tax.value) : '–',
];

/** Describes the data and the protocol of an evaluation. */
export function protocolText(evaluation: Evaluation): string {
  const { dataset, protocol, tests } = evaluation;
  if (protocol.name !== undefined) return templateProtocolText(evaluation);
  const { genuinePairs, genuinePairsInAll, impostorPairs, allImpostors, resamples, seed } = protocol;
  const { probes, probesInAll, galleries } = protocol;
  const drawn = (count: number, all?: number): string =>
    all === undefined ? groupDigits(count) : `a draw of ${groupDigits(count)} of ${groupDigits(all)}`;
  return [
    dataText(evaluation),
    tests.some(({ verification }) => verification) &&
      `1:1: ${drawn(genuinePairs, genuinePairsInAll)} genuine pairs${dataset.families === null ? '' : ' across families'} and ${allImpostors ? 'all' : 'a draw of'} ${groupDigits(impostorPairs)} impostor pairs.`,
    tests.some(({ identification }) => identification) &&
      `1:N: ${drawn(probes, probesInAll)} probes against two galleries of ${galleries.map(groupDigits).join(' and ')}, half of the identities not enrolled.`,
    `Intervals: 95 %, ${groupDigits(resamples)} bootstrap resamples of the identities, seed ${seed}.`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** Describes a published protocol of templates. */
function templateProtocolText({ dataset, protocol, tests }: Evaluation): string {
  const { name, genuinePairs, impostorPairs, probes, galleries, resamples, seed } = protocol;
  const searched = tests.some(({ identification }) => identification);
  return [
    `${name}: ${groupDigits(dataset.images)} images in ${groupDigits(dataset.classes)} templates.`,
    tests.some(({ verification }) => verification) &&
      `1:1: ${groupDigits(genuinePairs)} genuine and ${groupDigits(impostorPairs)} impostor pairs.`,
    searched && `1:N: ${groupDigits(probes)} probes against galleries of ${galleries.map(groupDigits).join(' and ')}.`,
    `Intervals: 95 %, ${groupDigits(resamples)} bootstrap resamples of the enrolled templates${searched ? ' (1:1) and subjects (1:N)' : ''}, seed ${seed}.`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** Warnings about the numbers: missing embeddings, zeros, and ties that decide searches or pairs. */
export function evaluationWarnings({ models, tests, protocol, dataset }: Evaluation): string[] {
  const [of, what] = protocol.name === undefined ? [dataset.images, 'embeddings'] : [dataset.classes, 'templates'];
  return [
    dataset.missing !== undefined &&
      `${groupDigits(dataset.missing)} more images are skipped for all models, because one has no embedding of them.`,
    ...models.map(
      ({ name, zeros = 0 }) =>
        zeros > 0 &&
        `${name}: ${groupDigits(zeros)} of ${groupDigits(of)} ${what} are zeros; they count as misses in every metric.`,
    ),
    ...tests.map((test) => {
      const [pairs, searches] = [test.verification?.tied ?? 0, test.identification?.tied ?? 0];
      const parts = [
        searches > 0 &&
          `${groupDigits(searches)} ${searches === 1 ? 'search finds' : 'searches find'} another entry exactly as similar as the right one`,
        pairs > 0 &&
          `${groupDigits(pairs)} genuine ${pairs === 1 ? 'pair scores' : 'pairs score'} exactly what an impostor pair at the threshold does`,
      ].filter(Boolean);
      return parts.length > 0 && `${testName(test)}: ${parts.join(', and ')}; ties count as misses.`;
    }),
  ].filter((text) => text !== false);
}

/** For each model its preset, and where its recipe differs from the reference. */
export const presetLines = ({ models }: Evaluation): readonly (readonly [name: string, text: string])[] =>
  models.map(({ name, preset = 'default', differences = [] }) => [
    name,
    `preset ${preset}; ${differences.length > 0 ? differences.join('; ') : 'no setting differs'}`,
  ]);

/** What each term of the report means. */
export const glossary: readonly (readonly [term: string, meaning: string])[] = [
  [
    'query → gallery',
    'which model embedded the queries, and which the gallery they are compared with; new → old is the upgrade without re-embedding',
  ],
  ...new Map(metrics.map(({ term, meaning }) => [term, meaning])),
  [
    'criterion',
    'met: new → old beats old → old, the 95 % interval of the difference excludes 0, and its lower end still puts new → old above chance; missed: new → old falls behind, and the interval excludes 0; undecided: neither; withheld: there is no verdict, and the report says why',
  ],
  [
    'drop-in',
    'queries of the new model can be compared at the threshold of old → old: there the 95 % interval of the difference in TAR lies above 0, that of the difference in FAR does not, and excludes twice the FAR; new threshold: TAR is better only at a threshold of its own with the same FAR',
  ],
  [
    'update gain',
    'share of the gain that re-embedding everything with the oracle would bring, had without re-embedding; –: the oracle may be no better than the old model',
  ],
  ['tax', 'what compatibility costs: the oracle on its own gallery minus this model on its own, in percentage points'],
];
