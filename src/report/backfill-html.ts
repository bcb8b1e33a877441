import type { BackfillCurve, BackfillSimulation } from '../backfill/simulation.ts';
import { backfillGlossary, backfillProtocolText, backfillTables, endsTable, skippedText } from './backfill-tables.ts';
import { COLOURS, type Line, OLD, ORACLE } from './curve-lines.ts';
import { drawFigure } from './curves.ts';
import { htmlText } from './format.ts';
import { definitionList, page, titledSection } from './page-parts.ts';

/** Metrics that get a figure; all have a table. */
const DRAWN = ['rank-1', 'TPIR@FPIR=1e-1', 'TAR@FAR=1e-3'];

/** The curves of a simulated backfill as one HTML file that loads nothing. */
export function renderBackfillHtml(simulation: BackfillSimulation): string {
  const tables = backfillTables(simulation);
  return page(simulation.title, [
    `<p>${htmlText(backfillProtocolText(simulation))}</p>`,
    ...skippedText(simulation).map((text) => `<p class="caution">${htmlText(text)}</p>`),
    titledSection(endsTable(simulation)),
    ...figuresOf(simulation).map((svg) => `<figure>${svg}</figure>`),
    ...tables.map((one) => titledSection(one)),
    '<h2>What the words mean</h2>\n<p>All numbers but shares are percent.</p>',
    definitionList(backfillGlossary),
  ]);
}

function figuresOf(simulation: BackfillSimulation): string[] {
  const { curves, ends } = simulation;
  const orders = [...new Set(curves.map(({ order }) => order))];
  const merges = [...new Set(curves.map(({ merge }) => merge))];
  return merges.flatMap((merge) =>
    ends
      .filter(({ metric }) => DRAWN.includes(metric))
      .flatMap(({ metric, oldOld, newNew }) => {
        const drawn = curves.filter((curve) => curve.merge === merge && curve.metric === metric);
        if (drawn.length === 0) return [];
        const axes = {
          title: `${metric}, scores ${merge}`,
          x: 'share of the gallery that is moved',
          y: metric,
          scale: { x: 'share', y: 'near' },
        } as const;
        const level = (label: string, y: number, colour: string): Line => ({
          label,
          look: { colour, symbol: null, dashed: true },
          points: [0, 1].map((x) => ({ x, y })),
        });
        const lines = drawn.map((curve) => lineOf(curve, simulation.shares, COLOURS[orders.indexOf(curve.order) % COLOURS.length]!)); // biome-ignore format: short
        return [drawFigure(axes, [level('old → old', oldOld, OLD), level('new → new', newNew, ORACLE), ...lines])];
      }),
  );
}

function lineOf({ order, value, low, high }: BackfillCurve, shares: readonly number[], colour: string): Line {
  return {
    label: order,
    look: { colour, symbol: null, dashed: false },
    points: shares.map((x, s) => ({ x, y: value[s]! })),
    ...(low && high && { band: shares.map((x, s) => ({ x, low: low[s]!, high: high[s]! })) }),
  };
}
