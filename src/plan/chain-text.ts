import colors from 'picocolors';
import { groupDigits, percent, pointsWithInterval } from '../report/number-format.ts';
import { textTable, wrap } from '../report/terminal.ts';
import type { Chain } from './chain-artifact.ts';

/** The comparison of generations for a terminal. */
export function renderChain(chain: Chain): string {
  const { metric, data, models, matrix, averageCompatibility: ac, averageAccuracy: am, pairs, worst, adapters } = chain;
  const names = models.map(({ name }) => name);
  const count = ({ length }: readonly unknown[], what: string): string => `${length} ${what}`;
  const parts = [
    `${colors.bold(`${count(models, 'generations')}`)}, judged by ${metric}, ${groupDigits(data.images)} images of ${groupDigits(data.classes)} classes`,
    textTable(
      ['queries of \\ gallery of', ...names],
      matrix.map((row, i) => [names[i]!, ...row.map((one) => (one ? percent(one.value) : '–'))]),
    ),
    textTable(
      ['newer → older', 'over older → older', 'criterion'],
      pairs.map(({ query, gallery, overOld, criterion }) => [
        `${query} → ${gallery}`,
        overOld ? pointsWithInterval(overOld) : '–',
        criterion,
      ]),
    ),
    wrap(
      `Average compatibility ${percent(ac.value)}: the share of the ${ac.pairs} pairs in which newer queries beat the older model on its gallery (${ac.met} with their interval). Average multi-model accuracy ${percent(am.value)} [${percent(am.low)}, ${percent(am.high)}]. Worst pair: ${worst.query} → ${worst.gallery}.`,
    ),
    adapters && adaptersText(adapters),
    colors.dim('percent, with 95 % intervals over identities'),
  ];
  return `\n${parts.filter(Boolean).join('\n\n')}\n`;
}

function adaptersText({ direction, identities, pairs }: NonNullable<Chain['adapters']>): string {
  const table = textTable(
    [`${direction} adapters`, 'older alone', 'chained', 'refitted', 'chained less refitted', 'methods'],
    pairs.map(({ from, to, methods, chained, refitted, difference, old }) => [
      `${from} → ${to}`,
      percent(old.value),
      percent(chained.value),
      percent(refitted.value),
      pointsWithInterval(difference),
      `${methods.join(', ')}; ${refitted.method}`,
    ]),
  );
  return `${table}\n${wrap(`Chained: through the adapters between neighbours, one after the other. Refitted: through one adapter between both. Tested on ${groupDigits(identities)} identities that no adapter was fitted on.`)}`;
}
