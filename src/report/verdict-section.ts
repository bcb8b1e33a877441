import type { CandidateResult, Comparison, Estimate, Evaluation } from '../eval/index.ts';
import type { NamedEvaluation } from './curve-lines.ts';
import { definitionId, linkedTerm } from './definitions.ts';
import { htmlText } from './format.ts';
import { percent, percentagePoints, pointsWithInterval, scoreText } from './number-format.ts';
import { details, nameHtml } from './page-parts.ts';
import { operatingPointOf } from './threshold-tables.ts';
import { verdict } from './verdict.ts';

/** A new model of one of several evaluations. */
export type JudgedModel = {
  readonly label: string;
  readonly evaluation: Evaluation;
  readonly candidate: CandidateResult;
};

export const judgedModels = (runs: readonly NamedEvaluation[]): JudgedModel[] =>
  runs.flatMap(({ name, evaluation }) =>
    evaluation.candidates.map((candidate) => ({
      label: runs.length > 1 ? `${name}: ${candidate.name}` : candidate.name,
      evaluation,
      candidate,
    })),
  );

type State = 'serves' | 'fails' | 'mixed' | 'undecided' | 'withheld';
const signs: Readonly<Record<State | Comparison['criterion'], string>> = {
  serves: '✓',
  fails: '✗',
  mixed: '±',
  undecided: '?',
  withheld: '–',
  met: '✓',
  missed: '✗',
};

export function stateOf({ withheld, comparisons }: CandidateResult): State {
  const has = (criterion: Comparison['criterion']): boolean => comparisons.some((c) => c.criterion === criterion);
  if (withheld) return 'withheld';
  if (has('met')) return has('missed') ? 'mixed' : 'serves';
  return has('missed') ? 'fails' : 'undecided';
}

const headlines: Readonly<Record<State, string>> = {
  serves: 'can serve the old gallery',
  fails: 'cannot serve the old gallery',
  mixed: 'is better by some metrics and worse by others',
  undecided: 'undecided',
  withheld: 'no verdict',
};

/** With more new models than this, their sentences are closed at first. */
const MAX_FULL = 3;

/** One line for each new model: what it can do, how, and by which metrics. */
export function banners(models: readonly JudgedModel[]): string {
  const compact = models.length > MAX_FULL;
  return `<div class="banners">\n${models.map((model) => banner(model, compact)).join('\n')}\n</div>`;
}

function banner({ label, evaluation, candidate }: JudgedModel, compact: boolean): string {
  const state = stateOf(candidate);
  const how = howText(evaluation, candidate, state);
  const chips = candidate.comparisons.map(
    ({ metric, criterion, difference }) =>
      `<li class="${criterion}"><span aria-hidden="true">${signs[criterion]}</span> ${linkedTerm(metric)} <b>${percentagePoints(difference.value)}</b> ${criterion}</li>`,
  );
  const words = `<p class="verdict">${htmlText(verdict(evaluation, candidate))}.</p>`;
  return `<article class="banner ${state}">
<p class="headline"><span class="sign" aria-hidden="true">${signs[state]}</span>${nameHtml(label)} <strong>${headlines[state]}</strong>${how ? ` <span class="how">${how}</span>` : ''}</p>
<ul class="chips">${chips.join('')}</ul>
${compact ? details('In words', words) : words}
</article>`;
}

function howText(evaluation: Evaluation, { name, dropIn }: CandidateResult, state: State): string {
  if (!dropIn || (state !== 'serves' && state !== 'mixed')) return '';
  const grade = linkedTerm(dropIn.grade === 'no' ? 'same threshold' : dropIn.grade, 'drop-in');
  const old = scoreText(evaluation.operatingPoint?.threshold ?? null);
  const own = scoreText(operatingPointOf(evaluation, name)?.keepingFar.threshold.value ?? null);
  switch (dropIn.grade) {
    case 'drop-in':
      return `as a ${grade}, at the old threshold ${old}`;
    case 'new threshold':
      return `with a ${grade}: ${own} instead of ${old}`;
    default:
      return '';
  }
}

/** Least and most of the intervals and 0, in whole steps of the axis. */
function forestScale(estimates: readonly Estimate[]) {
  const ends = estimates.flatMap(({ low, high, value }) => [low, high, value]).filter(Number.isFinite);
  const [least, most] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  const span = Math.max(most - least, 0.01);
  const step = [0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].find((size) => span / size <= 6) ?? 1;
  const [from, to] = [Math.floor(least / step) * step, Math.ceil(most / step) * step];
  const count = Math.round((to - from) / step);
  return {
    ticks: Array.from({ length: count + 1 }, (_, i) => from + i * step),
    /** Percent of the width. */
    at: (value: number): string => `${(100 * Math.min(Math.max((value - from) / (to - from), 0), 1)).toFixed(2)}%`,
  };
}

/** A tick of the axis in percentage points. */
const tickText = (x: number): string => (Math.abs(x) < 1e-9 ? '0' : percentagePoints(x).replace(/\.?0+$/, ''));

/** The differences of all new models to the old one with their intervals, by metric: a point and a bar beside each number. */
export function forestPlot(models: readonly JudgedModel[]): string {
  const names = [...new Set(models.flatMap(({ candidate }) => candidate.comparisons.map(({ metric }) => metric)))];
  const rows = names.flatMap((metric) =>
    models.flatMap(({ label, candidate }) => {
      const comparison = candidate.comparisons.find((c) => c.metric === metric);
      return comparison ? [{ metric, label, comparison }] : [];
    }),
  );
  if (rows.length === 0) return '';
  const scale = forestScale(rows.map(({ comparison }) => comparison.difference));
  const mark = ({ difference: { value, low, high } }: Comparison): string =>
    Number.isFinite(low + high)
      ? `<i class="zero" style="left:${scale.at(0)}"></i><i class="range" style="left:${scale.at(low)};right:calc(100% - ${scale.at(high)})"></i><i class="dot" style="left:${scale.at(value)}"></i>`
      : `<i class="zero" style="left:${scale.at(0)}"></i>`;
  const line = ({ metric, label, comparison }: (typeof rows)[number]): string =>
    `<tr class="${comparison.criterion}"><th scope="row">${linkedTerm(metric)}${models.length > 1 ? ` ${nameHtml(label)}` : ''}</th><td class="bar"><div class="forest" aria-hidden="true">${mark(comparison)}</div></td><td>${pointsWithInterval(comparison.difference)}</td><td class="more">${percent(comparison.oldOld)}</td><td class="more">${percent(comparison.newOld)}</td><td class="criterion"><span aria-hidden="true">${signs[comparison.criterion]}</span> <span class="word">${comparison.criterion}</span></td></tr>`;
  const last = scale.ticks.length - 1;
  const isKept = (tick: number, i: number): boolean => i === 0 || i === last || tickText(tick) === '0';
  const axis = scale.ticks.map((tick, i) => `<span${isKept(tick, i) ? '' : ' class="more"'} style="left:${scale.at(tick)}">${tickText(tick)}</span>`); // biome-ignore format: short
  return `<h3 id="differences">Differences to the old model on the old gallery</h3>
<div class="wide" tabindex="0" role="group" aria-label="differences"><table class="forest-table"><caption>New → old minus old → old, in percentage points, with its <a href="#${definitionId('95 % interval')}">95 % interval</a>: right of the line the new model’s queries find more</caption>
<thead><tr><th scope="col">metric</th><th scope="col" class="bar"><span class="visually-hidden">interval</span></th><th scope="col">${linkedTerm('difference')}</th><th scope="col" class="more">${linkedTerm('old → old')}</th><th scope="col" class="more">${linkedTerm('new → old')}</th><th scope="col" class="criterion"><span class="word">${linkedTerm('criterion')}</span></th></tr></thead>
<tbody>
${rows.map(line).join('\n')}
</tbody>
<tfoot aria-hidden="true"><tr><td></td><td class="bar"><div class="forest-axis">${axis.join('')}</div></td><td></td><td class="more"></td><td class="more"></td><td></td></tr></tfoot></table></div>`;
}
