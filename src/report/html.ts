import type { CandidateResult, Evaluation } from '../eval/index.ts';
import { changesAbsent, changesSection } from './changes-section.ts';
import type { NamedEvaluation } from './curve-lines.ts';
import { curveSections } from './curve-sections.ts';
import { definitionId, definitions } from './definitions.ts';
import {
  comparisonColumns,
  comparisonRow,
  evaluationWarnings,
  htmlText,
  presetLines,
  protocolText,
  testTable,
} from './format.ts';
import { mapSection } from './map-section.ts';
import { definitionList, details, nameHtml, page, table, titledSection } from './page-parts.ts';
import { type ReportPictures, withoutPictures } from './pictures.ts';
import { protocolTables } from './protocol-tables.ts';
import { scoreSection } from './score-section.ts';
import { sideBySideTables } from './side-by-side-tables.ts';
import { thresholdTables } from './threshold-tables.ts';
import { tradeOffSection, withoutOracle } from './trade-off-section.ts';
import { banners, forestPlot, judgedModels } from './verdict-section.ts';

/** More new models than this are closed at first, but the first one. */
const OPEN_MODELS = 2;

/** The report as one HTML file that contains its styles, curves and pictures, and loads nothing. */
export function renderHtml(evaluation: Evaluation, pictures: ReportPictures = withoutPictures()): string {
  const runs = [{ name: '', evaluation }];
  const { candidates } = evaluation;
  const tests = testTable(evaluation.tests);
  const curves = curveSections(runs);
  const changes = candidates.map((candidate, nth) => modelSection(evaluation, candidate, pictures, nth));
  const tables = [
    ...(candidates.length > 1 ? summaries(runs) : []),
    ...candidates.map((candidate) => section(`Can ${candidate.name} serve the old gallery?`, table(comparisonColumns, candidate.comparisons.map(comparisonRow)))), // biome-ignore format: short
    section('All tests', table(tests.header, tests.rows)),
    ...[...protocolTables(evaluation), ...thresholdTables(evaluation)].map((one) => titledSection(one, 3)),
  ];
  return page(
    evaluation.title,
    [
      `<p>${htmlText(protocolText(evaluation))}</p>`,
      ...evaluationWarnings(evaluation).map((text) => `<p class="caution">${htmlText(text)}</p>`),
      ...verdictPart(runs),
      ...part('curves', 'Curves', curves),
      ...part('changes', 'What changes', changes),
      ...part('tables', 'Tables', tables),
      definitionsPart,
      part('runs', 'Where the runs differ from the reference', [definitionList(presetLines(evaluation))]).join('\n'),
      `<p class="small">${htmlText(datasetText(evaluation))}</p>`,
    ],
    { interactive: true, contents: contentsOf({ verdict: candidates.length, curves: curves.length, changes: changes.length }) }, // biome-ignore format: short
  );
}

/** Several evaluations on one page: their verdicts and comparisons side by side, their curves in one figure. */
export function renderSummaryHtml(runs: readonly NamedEvaluation[]): string {
  const evaluations = runs.map(({ evaluation }) => evaluation);
  const curves = curveSections(runs);
  return page(
    [...new Set(evaluations.map(({ title }) => title))].join(' · '),
    [
      ...verdictPart(runs),
      ...part('tables', 'Tables', summaries(runs)),
      ...part('curves', 'Curves', curves),
      definitionsPart,
      ...part('runs', 'The evaluations', [
        definitionList(
          runs.map(({ name, evaluation }) => [
            name,
            `${evaluation.title}. ${protocolText(evaluation)} ${datasetText(evaluation)}.`,
          ]),
        ),
      ]),
    ],
    { interactive: true, contents: contentsOf({ verdict: judgedModels(runs).length, curves: curves.length, changes: 0 }) }, // biome-ignore format: short
  );
}

function verdictPart(runs: readonly NamedEvaluation[]): string[] {
  const models = judgedModels(runs);
  if (models.length === 0) return [];
  return part('verdict', 'Verdict', [
    banners(models),
    forestPlot(models),
    tradeOffSection(models),
    withoutOracle(models),
  ]);
}

function modelSection(
  evaluation: Evaluation,
  candidate: CandidateResult,
  pictures: ReportPictures,
  nth: number,
): string {
  const { name } = candidate;
  const many = evaluation.candidates.length > OPEN_MODELS;
  const parts = [
    candidate.changes ? changesSection(candidate, pictures) : changesAbsent(name),
    scoreSection(evaluation, candidate),
    mapSection(evaluation, candidate, pictures, { besideOracle: !many || nth === 0 }),
  ].filter((text) => text !== '');
  return details(`<h3>${nameHtml(name)}</h3>`, parts.join('\n'), { open: !many || nth === 0 });
}

const titles = { verdict: 'Verdict', curves: 'Curves', changes: 'What changes' } as const;

function contentsOf(counts: Readonly<Record<keyof typeof titles, number>>): (readonly [string, string])[] {
  const shown = (['verdict', 'curves', 'changes'] as const).filter((id) => counts[id] > 0);
  return [...shown.map((id) => [id, titles[id]] as const), ['tables', 'Tables'], ['definitions', 'Definitions']];
}

/** A part of the page under a heading; none if it would be empty. */
function part(id: string, title: string, sections: readonly string[]): string[] {
  const content = sections.filter((text) => text !== '').join('\n');
  return content === '' ? [] : [`<section id="${id}" aria-labelledby="${id}-title">\n<h2 id="${id}-title">${title}</h2>\n${content}\n</section>`]; // biome-ignore format: short
}

const section = (title: string, content: string): string => `<h3>${nameHtml(title)}</h3>\n${content}`;
const summaries = (runs: readonly NamedEvaluation[]): string[] =>
  sideBySideTables(runs).map((one) => titledSection(one, 3));

const datasetText = ({ dataset }: Evaluation): string => `dataset ${dataset.path}, digest ${dataset.digest}`;

const definitionsPart = `<section id="definitions">
<h2>What the words mean</h2>
<p>All numbers are percent.</p>
<dl>${definitions.map(([term, text]) => `<dt id="${definitionId(term)}">${htmlText(term)}</dt><dd>${htmlText(text)}</dd>`).join('\n')}</dl>
</section>`;
