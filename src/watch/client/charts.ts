import type uPlot from 'uplot';
import type { LogLine } from '../../runs/run-log.ts';
import { colourOf, css, dark, dashOf } from './colours.ts';
import { $, duration, element, number, percent } from './elements.ts';
import { type Run, runs, validationsOf } from './state.ts';

const Plot = (globalThis as unknown as { readonly uPlot: typeof uPlot }).uPlot;
const HEIGHT = 190;
const charts = new Map<string, { readonly plot: uPlot; readonly figure: HTMLElement; series: string }>();

type Metric = {
  readonly key: string;
  readonly title: string;
  readonly logarithmic: boolean;
  readonly values: (run: Run) => { readonly at: readonly At[]; readonly y: readonly (number | null)[] };
};
/** Where a value stands: a line of the log, or a validation. */
type At = { readonly step: number; readonly time?: string };

function metricsOf(): Metric[] {
  const all = [...runs.values()];
  const names = (of: (run: Run) => readonly object[]): string[] => [
    ...new Set(all.flatMap(of).flatMap((one) => Object.keys(one))),
  ];
  const logged = (key: string, title: string, of: (line: LogLine) => number | null, logarithmic = false): Metric => ({
    ...{ key, title, logarithmic },
    values: ({ lines }) => ({ at: lines, y: lines.map(of) }),
  });
  const terms = names(({ lines }) => lines.slice(-1).map((line) => line.terms));
  return [
    logged('loss', 'loss', (line) => line.loss, true),
    ...terms.map((name) => logged(`term ${name}`, `loss term ${name}`, (line) => line.terms[name] ?? null, true)),
    ...names((run) => validationsOf(run).map((event) => event.validation)).map(
      (name): Metric => ({
        key: `validation ${name}`,
        title: `validation: ${name}`,
        logarithmic: false,
        values: (run) => {
          const found = validationsOf(run);
          return { at: found, y: found.map((event) => event.validation[name] ?? null) };
        },
      }),
    ),
    logged('gradNorm', 'gradient norm', (line) => line.gradNorm, true),
    logged('lr', 'learning rate', (line) => line.lr),
    logged('samplesPerSecond', 'samples per second', (line) => line.samplesPerSecond),
    logged('dataWaitShare', 'share of the time that waits for data', (line) => line.dataWaitShare),
  ];
}

/** Where values stand on the horizontal axis; null where that is not known. */
function across(run: Run, at: readonly At[]): (number | null)[] {
  const how = $<HTMLSelectElement>('across').value;
  const total = run.lines.at(-1)?.totalSteps;
  const start = Date.parse(run.lines[0]?.time ?? '');
  return at.map(({ step, time }) => {
    if (how === 'step') return step;
    if (how === 'share') return total === undefined ? null : step / total;
    const seconds = (Date.parse(time ?? '') - start) / 1000;
    return Number.isFinite(seconds) ? Math.max(0, seconds) : null;
  });
}

/** Values of all shown runs over one axis, for one chart. */
function tableOf(metric: Metric, shown: readonly Run[]): uPlot.AlignedData {
  const isLog = metric.logarithmic && $<HTMLInputElement>('log').checked;
  const tables = shown.map((run): uPlot.AlignedData => {
    const { at, y } = metric.values(run);
    const points = across(run, at)
      .map((x, i) => [x, isLog && (y[i] ?? 0) <= 0 ? null : y[i]!] as const)
      .filter((point): point is [number, number | null] => point[0] !== null)
      .sort((a, b) => a[0] - b[0]);
    return [points.map(([x]) => x), points.map(([, value]) => value)];
  });
  return tables.length === 0 ? [[]] : Plot.join(tables.map((table) => table as uPlot.AlignedData));
}

/** What the figures show: they are drawn again only when that changes. */
let chartsDrawn = '';

export function drawCharts(): void {
  const place = $('charts');
  const all = [...runs.values()];
  const what = `${all.map(({ id, data, lines, events, shown }) => [id, data.generation, lines.length, events.length, shown])} ${dark.matches} ${$<HTMLInputElement>('log').checked} ${$<HTMLSelectElement>('across').value}`;
  if (what === chartsDrawn) return;
  chartsDrawn = what;
  const shown = all.filter((run) => run.shown && run.lines.length > 0);
  const metrics = all.some((run) => run.lines.length > 0) ? metricsOf() : [];
  if (metrics.length > 0) place.querySelector('.empty')?.remove();
  for (const [key, { plot, figure }] of charts)
    if (!metrics.some((metric) => metric.key === key)) {
      plot.destroy();
      figure.remove();
      charts.delete(key);
    }
  const order = [...runs.keys()];
  let next = place.firstElementChild;
  for (const metric of metrics) {
    const series = `${shown.map(({ id }) => [id, order.indexOf(id)])} ${dark.matches} ${$<HTMLInputElement>('log').checked} ${$<HTMLSelectElement>('across').value}`;
    const data = tableOf(metric, shown);
    let chart = charts.get(metric.key);
    if (!chart || chart.series !== series) {
      const figure = chart?.figure ?? figureFor(metric);
      chart?.plot.destroy();
      chart = { figure, series, plot: newPlot(metric, shown, data, figure) };
      charts.set(metric.key, chart);
    } else chart.plot.setData(data, chart.plot.scales['x']!.min === undefined || !isZoomed(chart.plot));
    // a figure that is put in again loses the focus
    if (chart.figure === next) next = next.nextElementSibling;
    else place.insertBefore(chart.figure, next);
    const latest = shown.map((run) => {
      const { y } = metric.values(run);
      return `${run.data.name} ${number(y.at(-1))}, ${y.length} values`;
    });
    chart.figure.querySelector('.plot')!.setAttribute('aria-label', `${metric.title}, latest: ${latest.join('; ')}`);
  }
}

/** Whether the reader has chosen a part of the axis: new data must not take it away. */
const zoomed = new WeakSet<uPlot>();
const isZoomed = (plot: uPlot): boolean => zoomed.has(plot);

function figureFor(metric: Metric): HTMLElement {
  const figure = element('figure');
  figure.tabIndex = 0;
  figure.dataset['metric'] = metric.key;
  const caption = element('figcaption');
  caption.append(element('span', metric.title), element('span', '', 'read'));
  const plot = element('div', '', 'plot');
  plot.setAttribute('role', 'img');
  figure.append(caption, plot);
  figure.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const chart = charts.get(metric.key)?.plot;
    if (by === undefined || !chart) return;
    event.preventDefault();
    const xs = chart.data[0];
    const at = Math.min(xs.length - 1, Math.max(0, (chart.cursor.idx ?? xs.length) + by));
    chart.setCursor({ left: chart.valToPos(xs[at]!, 'x'), top: 1 });
  });
  return figure;
}

function newPlot(metric: Metric, shown: readonly Run[], data: uPlot.AlignedData, figure: HTMLElement): uPlot {
  const place = figure.querySelector<HTMLElement>('.plot')!;
  place.replaceChildren();
  const isLog = metric.logarithmic && $<HTMLInputElement>('log').checked;
  const how = $<HTMLSelectElement>('across').value;
  const order = [...runs.keys()];
  const line = css('--line');
  const axis = { stroke: css('--muted'), grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const xText = (value: number): string =>
    how === 'share' ? percent(value) : how === 'time' ? duration(value) : String(Number(value.toPrecision(6)));
  const plot = new Plot(
    {
      width: Math.max(200, place.clientWidth || 340),
      height: HEIGHT,
      scales: { x: { time: false }, y: { distr: isLog ? 3 : 1 } },
      axes: [
        { ...axis, size: 34, values: (_, ticks) => ticks.map(xText), space: how === 'time' ? 90 : 60 },
        { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : number(tick))) },
      ],
      cursor: { sync: { key: 'curves', scales: ['x', null] }, points: { size: 7 } },
      legend: { show: false },
      series: [
        {},
        ...shown.map((run) => ({
          label: run.data.name,
          stroke: colourOf(order.indexOf(run.id)),
          dash: dashOf(order.indexOf(run.id)),
          width: 1.75,
          spanGaps: true,
          points: { show: (plot: uPlot, i: number) => metric.key.startsWith('validation') || isSingle(plot.data[i]!) },
        })),
      ],
      hooks: {
        setCursor: [(self) => readOff(self, shown, figure, xText)],
        setSelect: [(self) => void (self.select.width > 0 && zoomed.add(self))],
      },
    },
    data,
    place,
  );
  // which ends the zoom of all figures: they share their cursor
  plot.over.addEventListener('dblclick', () => {
    for (const one of charts.values()) zoomed.delete(one.plot);
  });
  return plot;
}

/** Whether a series has one value, which no line shows. */
const isSingle = (values: uPlot.AlignedData[number]): boolean =>
  Array.from(values).filter((value) => typeof value === 'number').length === 1;

/** Writes the values under the cursor into the caption. */
function readOff(plot: uPlot, shown: readonly Run[], figure: HTMLElement, xText: (x: number) => string): void {
  const at = plot.cursor.idx;
  const read = figure.querySelector('.read')!;
  read.replaceChildren();
  if (at === null || at === undefined) return;
  read.append(xText(plot.data[0][at]!));
  const order = [...runs.keys()];
  for (const [i, run] of shown.entries()) {
    const value = plot.data[i + 1]?.[at];
    if (value === null || value === undefined) continue;
    const cell = element('span', number(value));
    cell.title = run.data.name;
    cell.style.setProperty('--of', colourOf(order.indexOf(run.id)));
    read.append(cell);
  }
}

new ResizeObserver(() => {
  for (const { plot, figure } of charts.values()) {
    const width = figure.querySelector('.plot')!.clientWidth;
    if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }
}).observe($('charts'));
