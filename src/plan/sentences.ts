import { groupDigits, percent, pointsWithInterval } from '../report/number-format.ts';
import { farText } from '../report/threshold-tables.ts';
import type { Evidence } from './evidence.ts';
import { cosineText, hoursText } from './format.ts';
import type { PlanOption } from './plan-artifact.ts';

/** `backfill mixbct` */
export const optionName = ({ way, model }: Pick<PlanOption, 'way' | 'model'>): string => `${way} ${model}`;

/** What to do, in one line. */
export function summaryOf({ way, model, adapter, order, merge, dropIn }: PlanOption): string {
  const rewrites = adapter?.direction === 'gallery';
  switch (way) {
    case 'keep':
      return 'Keep the old model.';
    case 'deploy':
      return `Deploy ${model}${dropIn === 'drop-in' ? ' at the same threshold' : ''}. The gallery stays as it is.`;
    case 'bridge':
      return rewrites
        ? `Rewrite the gallery by the adapter of ${model}, then deploy the model. No image is embedded again.`
        : `Deploy ${model}, with its queries through the adapter. The gallery stays as it is.`;
    case 'backfill':
      return `${rewrites ? `Rewrite the gallery by the adapter of ${model}, then deploy the model` : `Deploy ${model} now`}. Embed the gallery again in the order ${order}${merge === 'direct' ? '' : `, with scores merged by ${merge}`}.`;
    case 're-embed':
      return `Embed the whole gallery again by ${model}, then cut over.`;
  }
}

/** Why an option was chosen. */
export function whyOf(option: PlanOption, { metric, old }: Evidence): string {
  const { way, model, gain, start, end, worst, movedFor95 } = option;
  const reached = `${metric} is ${percent(end.value)} instead of ${percent(old.quality.value.value)}, ${pointsWithInterval(gain)}`;
  switch (way) {
    case 'keep':
      return 'No way that may be taken is shown to be better than the old model.';
    case 'deploy':
      return `Queries of ${model} on the old gallery beat the old model's own: ${reached}. No dearer way is shown to gain more.`;
    case 'bridge':
      return `Queries of ${model} through the adapter beat the old model's own: ${reached}. No dearer way is shown to gain more.`;
    case 'backfill':
      return `${metric} begins at ${percent(start!.value)}; at the end it ${reached.slice(metric.length + 1)}. The worst point on the way is ${pointsWithInterval(worst!.overOld)} over the old model${movedText(worst!.moved)}.${movedFor95 === null ? '' : ` 95 % of it is reached when ${percent(movedFor95)} % is moved.`} ${workText(option)}`;
    case 're-embed':
      return `With all images embedded again ${reached}. No cheaper way is shown to gain as much. The old model answers until the cut-over. ${workText(option)}`;
  }
}

/** Of a way that was chosen, so that its costs are known. */
const workText = ({ reEmbed, hours }: PlanOption): string =>
  `${groupDigits(reEmbed!)} images are embedded again, in ${hoursText(hours!)}.`;

const movedText = (moved: number | null): string =>
  moved === null ? '' : moved === 0 ? ', on the first day' : `, with ${percent(moved)} % of the gallery moved`;

/** How a service has to change its threshold; null: it is unknown, or stays. */
export function thresholdText({ way, threshold, dropIn }: PlanOption): string | null {
  if (way === 'keep' || dropIn === 'drop-in' || threshold === null) return null;
  const { far, old, start, end } = threshold;
  const first = way === 'backfill' && start !== null ? `${cosineText(start)} at first, ` : '';
  return `Threshold for FAR ${farText(far)}: ${first}${cosineText(end)} instead of ${cosineText(old)}.`;
}
