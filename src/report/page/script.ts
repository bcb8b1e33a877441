// What a report does in a browser: curves that are read off, tables that are sorted, dark and light. The page inlines the compiled
// file, so it imports nothing. Without it the page shows the same numbers.

type Series = { readonly x?: readonly number[]; readonly y: readonly number[]; readonly band?: Band };
type Band = { readonly x: readonly number[]; readonly low: readonly number[]; readonly high: readonly number[] };
type Curves = {
  readonly at: string;
  readonly log: boolean;
  readonly x: readonly number[];
  readonly lines: readonly Series[];
};
type Scale = {
  readonly log: boolean;
  readonly from: number;
  readonly to: number;
  readonly start: number;
  readonly end: number;
};

const SVG = 'http://www.w3.org/2000/svg';
const all = <T extends Element>(of: ParentNode, selector: string): T[] => [...of.querySelectorAll<T>(selector)];

/** A share as percent with two digits, as the tables have it. */
const percent = (share: number | null | undefined): string =>
  typeof share === 'number' ? (100 * share).toFixed(2) : '–';
const argument = (x: number, log: boolean): string => (log ? Number(x.toPrecision(3)).toExponential() : `${x}`);

/** The value of a series at x; nothing between its points. */
function valueAt(xs: readonly number[], ys: readonly (number | null)[], x: number): number | null | undefined {
  return ys[xs.findIndex((other) => Math.abs(other - x) <= 1e-9 * x)];
}

function scaleOf(text: string | undefined): Scale {
  const [kind, from, to, start, end] = (text ?? '').split(' ');
  return { log: kind === 'log', from: Number(from), to: Number(to), start: Number(start), end: Number(end) };
}

function place({ log, from, to, start, end }: Scale, value: number): number {
  const share = log ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
  return start + share * (end - start);
}

/** A vertical line in a drawing, with a dot on each curve. */
function cursorIn(svg: SVGSVGElement, curves: Curves) {
  const [across, up] = [scaleOf(svg.dataset.x), scaleOf(svg.dataset.y)];
  const make = (name: string, attributes: Readonly<Record<string, number | string>>): SVGElement => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, `${value}`);
    return element;
  };
  const group = make('g', { class: 'cursor' });
  const rule = make('line', { y1: up.start, y2: up.end });
  const dots = curves.lines.map(() => make('circle', { r: 4 }));
  group.append(rule, ...dots);
  svg.append(group);
  return {
    svg,
    move(x: number, shown: (line: number) => boolean, colour: (line: number) => string): void {
      const left = place(across, x);
      for (const end of ['x1', 'x2']) rule.setAttribute(end, `${left}`);
      for (const [i, { x: xs = curves.x, y }] of curves.lines.entries()) {
        const value = valueAt(xs, y, x);
        const visible = shown(i) && typeof value === 'number' && (!up.log || value > 0);
        const dot = dots[i]!;
        dot.setAttribute('display', visible ? 'inline' : 'none');
        if (!visible) continue;
        dot.setAttribute('cx', `${left}`);
        dot.setAttribute('cy', `${Math.min(Math.max(place(up, value), up.end), up.start)}`);
        dot.setAttribute('fill', colour(i));
      }
    },
    /** The value of x that is nearest to a point of the screen. */
    nearest(clientX: number): number {
      const { left, width } = svg.getBoundingClientRect();
      const at = ((clientX - left) / width) * svg.viewBox.baseVal.width;
      let best = 0;
      for (const [i, x] of curves.x.entries())
        if (Math.abs(place(across, x) - at) < Math.abs(place(across, curves.x[best]!) - at)) best = i;
      return best;
    },
  };
}

function setUpFigure(figure: HTMLElement): void {
  const curves = JSON.parse(figure.querySelector('script')!.textContent!) as Curves;
  const slider = figure.querySelector<HTMLInputElement>('input[type=range]')!;
  const switches = all<HTMLInputElement>(figure, 'tbody input');
  const rows = all<HTMLTableRowElement>(figure, '.lines tbody tr');
  const cursors = all<SVGSVGElement>(figure, 'svg[data-x]').map((svg) => cursorIn(svg, curves));
  const colour = (line: number): string => rows[line]!.style.getPropertyValue('--series');
  const shown = (line: number): boolean => switches[line]!.checked;
  const update = (): void => {
    const x = curves.x[Number(slider.value)]!;
    const text = `${curves.at} ${argument(x, curves.log)}`;
    slider.setAttribute('aria-valuetext', text);
    for (const output of all(figure, '.at')) output.textContent = text;
    for (const [i, { x: xs = curves.x, y, band }] of curves.lines.entries()) {
      const [, value, interval] = all(rows[i]!, 'th, td');
      value!.textContent = percent(valueAt(xs, y, x));
      const [low, high] = [band && valueAt(band.x, band.low, x), band && valueAt(band.x, band.high, x)];
      interval!.textContent = typeof low === 'number' ? `[${percent(low)}, ${percent(high)}]` : '–';
    }
    for (const cursor of cursors) cursor.move(x, shown, colour);
  };
  const show = (): void => {
    for (const [i, one] of switches.entries())
      for (const mark of all(figure, `svg .l${i}`)) mark.classList.toggle('off', !one.checked);
    update();
  };
  slider.addEventListener('input', update);
  for (const one of switches) one.addEventListener('change', show);
  const bands = figure.querySelector<HTMLInputElement>('.bands input');
  bands?.addEventListener('change', () => figure.classList.toggle('no-bands', !bands.checked));
  for (const { svg, nearest } of cursors) {
    const follow = (event: PointerEvent): void => {
      slider.value = `${nearest(event.clientX)}`;
      update();
    };
    svg.addEventListener('pointermove', follow);
    svg.addEventListener('pointerdown', follow);
  }
  show();
}

/** The number that a cell begins with; text otherwise. */
function sortKey(cell: Element | undefined): number | string {
  const text = (cell?.textContent ?? '').trim().replaceAll('−', '-').replaceAll(',', '');
  const number = Number.parseFloat(text.replace(/^[+[(]+/, ''));
  return Number.isNaN(number) ? text : number;
}

function setUpTable(table: HTMLTableElement): void {
  const heads = all<HTMLTableCellElement>(table, 'thead th');
  const body = table.tBodies[0];
  if (!body || body.rows.length < 2) return;
  for (const [column, head] of heads.entries()) {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'sort';
    button.setAttribute('aria-label', `sort by ${head.textContent}`);
    button.addEventListener('click', () => {
      const falling = head.getAttribute('aria-sort') !== 'descending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
      const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[column]) }));
      const compare = (a: number | string, b: number | string): number =>
        typeof a === 'number' && typeof b === 'number' ? a - b : `${a}`.localeCompare(`${b}`);
      rows.sort((a, b) => (falling ? compare(b.key, a.key) : compare(a.key, b.key)));
      body.append(...rows.map(({ row }) => row));
    });
    head.append(button);
  }
}

function setUpTheme(button: HTMLButtonElement): void {
  const themes = ['auto', 'dark', 'light'] as const;
  let at = 0;
  button.hidden = false;
  button.addEventListener('click', () => {
    at = (at + 1) % themes.length;
    button.textContent = `Colours: ${themes[at]}`;
    if (themes[at] === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = themes[at];
  });
}

document.documentElement.classList.add('scripted');
for (const figure of all<HTMLElement>(document, '[data-curves]')) setUpFigure(figure);
for (const table of all<HTMLTableElement>(document, 'table.sortable')) setUpTable(table);
for (const button of all<HTMLButtonElement>(document, 'button.theme')) setUpTheme(button);
addEventListener('beforeprint', () => {
  for (const details of all<HTMLDetailsElement>(document, 'details')) details.open = true;
});
