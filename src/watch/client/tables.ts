import type { ExperimentData } from '../watched.ts';
import { drawCharts } from './charts.ts';
import { colourOf } from './colours.ts';
import { $, duration, element, nameElement, number, percent } from './elements.ts';
import { runs } from './state.ts';

/** Messages that are shown. */
const MOST_MESSAGES = 60;

/** Rows are kept between two drawings, so that a switch under the pointer or in focus stays. */
const rows = new Map<string, HTMLElement>();

/** `notShown`: runs that the page does not get. */
export function drawRuns(notShown: number): void {
  const more = $('not-shown');
  more.hidden = notShown === 0;
  more.textContent = `${notShown} more ${notShown === 1 ? 'is not shown: it' : 'are not shown: they'} changed earlier`;
  const body = $('runs').querySelector('tbody')!;
  for (const [nth, run] of [...runs.values()].entries()) {
    let row = rows.get(run.id);
    if (!row) {
      row = newRow(run.id, run.data.name);
      rows.set(run.id, row);
      body.append(row);
    }
    const last = run.lines.at(-1);
    row.querySelector<HTMLElement>('.swatch')!.style.background = colourOf(nth);
    row.querySelector('.about')!.textContent = run.data.about;
    const total = last?.totalSteps;
    const epochs = run.data.epochs;
    const texts = [
      last ? `${last.step}${total === undefined ? '' : ` of ${total}`}` : '–',
      last ? `${last.epoch + 1}${epochs === null ? '' : ` of ${epochs}`}` : '–',
      number(last?.loss),
      number(last?.lr),
      number(last && Number(last.samplesPerSecond.toPrecision(3))),
      percent(last?.dataWaitShare),
      number(last?.gradNorm),
      run.data.state === 'finished' ? 'done' : duration(run.data.secondsLeft),
    ];
    const cells = row.querySelectorAll('td');
    for (const [i, text] of texts.entries()) if (cells[i + 1]!.textContent !== text) cells[i + 1]!.textContent = text;
    const state = cells[0]!;
    const { state: now } = run.data;
    const shown = now === 'elsewhere' ? 'running elsewhere' : now;
    if (state.dataset['now'] !== shown) {
      state.dataset['now'] = shown;
      state.replaceChildren(element('span', shown, `state ${now.replace(' ', '-')}`));
      const bar = element('div', '', 'progress');
      bar.append(element('div'));
      state.append(bar);
    }
    const bar = state.querySelector<HTMLElement>('.progress')!;
    bar.hidden = now === 'finished' || !last || !total;
    bar.querySelector('div')!.style.width = `${last && total ? (100 * last.step) / total : 0}%`;
  }
}

function newRow(id: string, name: string): HTMLElement {
  const row = element('tr');
  row.dataset['run'] = name;
  const head = element('th');
  head.setAttribute('scope', 'row');
  const label = element('label', '', 'name');
  const box = element('input') as HTMLInputElement;
  box.type = 'checkbox';
  box.checked = true;
  box.setAttribute('aria-label', `show ${name} in the curves`);
  box.addEventListener('change', () => {
    runs.get(id)!.shown = box.checked;
    drawCharts();
  });
  const text = element('span');
  text.append(nameElement(name), element('span', '', 'about'));
  label.append(box, element('span', '', 'swatch'), text);
  head.append(label);
  row.append(head, ...Array.from({ length: 9 }, () => element('td')));
  return row;
}

const STAGE_MARKS = { done: '✓', running: '▶', interrupted: '⏸', stale: '↻', damaged: '✗', 'to come': '○' } as const;
let stagesDrawn = '';

export function drawStages(experiments: readonly ExperimentData[]): void {
  const all = JSON.stringify(experiments);
  if (all === stagesDrawn) return;
  stagesDrawn = all;
  const place = $('stages');
  place.hidden = experiments.length === 0;
  place.replaceChildren(
    ...experiments.flatMap(({ name, stages }) => {
      const done = stages.filter(({ state }) => state === 'done').length;
      const title = element('h2');
      const named = element('bdi', name);
      title.append(named, ` · ${done} of ${stages.length} stages done`);
      const list = element('ol', '', 'stages');
      list.append(
        ...stages.map(({ id, kind, summary, state }) => {
          const item = element('li', '', state.replace(' ', '-'));
          const about = element('span', summary === '' ? kind : summary, 'about');
          if (state === 'done') item.title = about.textContent!;
          const shown = state === 'stale' ? 'to be made again' : state;
          const mark = element(
            'span',
            `${STAGE_MARKS[state]} ${shown}`,
            `state ${state === 'to come' ? 'waiting' : state}`,
          );
          item.append(element('b', id), ' ', mark, ...(state === 'done' ? [] : [about]));
          return item;
        }),
      );
      return [title, list];
    }),
  );
}

let messagesDrawn = '';

export function drawMessages(): void {
  const all = [...runs.values()].flatMap((run) =>
    run.events.flatMap((event) => ('message' in event ? [{ name: run.data.name, ...event }] : [])),
  );
  const told = `${all.length} ${all.at(-1)?.time} ${[...runs.values()].map(({ data }) => data.generation)}`;
  if (told === messagesDrawn) return;
  messagesDrawn = told;
  const shown = all.sort((a, b) => a.time.localeCompare(b.time)).slice(-MOST_MESSAGES);
  $('messages').replaceChildren(
    ...(shown.length === 0 ? [element('li', 'none', 'empty')] : []),
    ...shown.reverse().map(({ name, step, time, message }) => {
      const warns = /^warning|skipped|damaged|non-finite/.test(message);
      const item = element('li', '', warns ? 'warning' : '');
      const when = element('span', new Date(time).toLocaleTimeString(), 'when');
      item.append(when, ' ', nameElement(name), ` step ${step}: ${message}`);
      return item;
    }),
  );
}

/** Removes what is shown of a run. */
export function removeRow(id: string): void {
  rows.get(id)?.remove();
  rows.delete(id);
}
