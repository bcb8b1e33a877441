import colors from 'picocolors';
import { groupDigits, percent, pointsWithInterval } from '../report/number-format.ts';
import { textTable, wrap } from '../report/terminal.ts';
import { bytesText, cosineText, hoursText } from './format.ts';
import type { Plan, PlanOption } from './plan-artifact.ts';
import { optionName } from './sentences.ts';

/** A plan on one screen: the verdict, what each way brings, what it costs, and what speaks against it. */
export function renderPlan(plan: Plan): string {
  const { metric, data, gallery, verdict, options } = plan;
  const vectors = gallery.size === null ? 'a gallery of unknown size' : `${groupDigits(gallery.size)} vectors`;
  const judged = `${metric}, ${groupDigits(data.images)} images of ${groupDigits(data.identities)} identities`;
  const paint = verdict.way === 'keep' ? colors.yellow : colors.green;
  const parts = [
    `${colors.bold(`Plan for ${vectors}`)}, judged by ${judged}`,
    `${paint(colors.bold(wrap(verdict.summary)))}\n${wrap(verdict.why)}`,
    textTable(QUALITY, options.map(qualityRow)),
    textTable(COSTS, options.filter(({ standing }) => standing !== 'ruled out').map(costRow)),
    titled('Why not', whyNot(options)),
    titled('What would decide', verdict.wouldDecide),
    titled('Caution', verdict.cautions),
    !verdict.accepted && colors.red('None of the ways to accept is proven.'),
    colors.dim('percent, with 95 % intervals over identities; first day: when the new model answers its first query'),
  ];
  return `\n${parts.filter(Boolean).join('\n\n')}\n`;
}

/** What speaks against options: those of which the same is to be said stand together. */
function whyNot(options: readonly PlanOption[]): string[] {
  const named = new Map<string, string[]>();
  for (const option of options.filter(({ reasons }) => reasons.length > 0)) {
    const reason = option.reasons.join('; ');
    named.set(reason, [...(named.get(reason) ?? []), optionName(option)]);
  }
  return [...named].map(([reason, names]) => `${names.join(', ')}: ${reason}`);
}

const titled = (title: string, lines: readonly string[]): string | false =>
  lines.length > 0 && `${colors.bold(title)}\n${lines.map((line) => wrap(`- ${line}`)).join('\n')}`;

const QUALITY = ['way', '', 'first day', 'done', 'over old → old', 'worst on the way'] as const;

function qualityRow(option: PlanOption): string[] {
  const { way, standing, start, end, gain, worst } = option;
  if (way === 'keep') return [optionName(option), standing, percent(end.value), percent(end.value), '', ''];
  return [
    optionName(option),
    standing,
    start ? percent(start.value) : 'as old',
    percent(end.value),
    pointsWithInterval(gain),
    way === 'deploy' || way === 'bridge' ? '' : worst === null ? 'unknown' : worstText(worst),
  ];
}

function worstText({ moved, overOld }: NonNullable<PlanOption['worst']>): string {
  if (overOld.low === 0 && overOld.high === 0) return 'as old';
  return `${pointsWithInterval(overOld)}${moved === null ? '' : ` at ${Math.round(100 * moved)} %`}`;
}

const COSTS = ['way', 'embed again', 'time', 'vectors during', 'after', 'accept above'] as const;

function costRow(option: PlanOption): string[] {
  const { reEmbed, rewrite, hours, bytes, threshold } = option;
  const size = (of: 'during' | 'after'): string => (bytes ? bytesText(bytes[of]) : '–');
  const again = reEmbed === null ? 'all' : rewrite ? `${groupDigits(reEmbed)}, all mapped` : groupDigits(reEmbed);
  return [
    optionName(option),
    again,
    hours === null ? 'unknown' : hours === 0 ? '–' : hoursText(hours),
    size('during'),
    size('after'),
    threshold ? thresholdCell(option.dropIn, threshold) : '–',
  ];
}

const thresholdCell = (
  dropIn: PlanOption['dropIn'],
  { old, start, end }: NonNullable<PlanOption['threshold']>,
): string =>
  dropIn === 'drop-in'
    ? `${cosineText(old)} as old`
    : start === null || start === end
      ? cosineText(end)
      : `${cosineText(start)}, then ${cosineText(end)}`;
