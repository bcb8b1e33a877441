// The scripts of this folder run in the browser, inlined into the page. They import each other and types only.
import type { WatchData } from '../watched.ts';
import { drawCharts } from './charts.ts';
import { dark } from './colours.ts';
import { $ } from './elements.ts';
import { runs, take } from './state.ts';
import { drawMessages, drawRuns, drawStages, removeRow } from './tables.ts';

/** Pause between two questions, and the longest while nothing is new; in a page that is hidden; and after one that was not answered. */
const [ASK_MS, CALM_MS, HIDDEN_MS, LOST_MS] = [1000, 4000, 10_000, 3000];
const token = new URLSearchParams(location.search).get('token');

function draw(data: Pick<WatchData, 'title' | 'experiments' | 'notShown'>): void {
  $('title').textContent = data.title;
  const all = [...runs.values()];
  const now = all.find((run) => run.data.state === 'running');
  const total = now?.lines.at(-1)?.totalSteps;
  const share = now && total ? `${Math.floor((100 * now.lines.at(-1)!.step) / total)} % · ` : '';
  document.title = `${share}${data.title.slice(0, 60)} · mixbct watch`;
  drawStages(data.experiments);
  drawRuns(data.notShown);
  drawCharts();
  drawMessages();
}

function tellConnection(text: string, isLost: boolean): void {
  const place = $('connection');
  if (place.textContent !== text) place.textContent = text;
  place.classList.toggle('lost', isLost);
}

let latest: WatchData | undefined;
/** What there was at the last question, and the pause after it. */
let [known, pauseMs] = ['', ASK_MS];

/** Asks for what is new. → the pause before it asks again */
async function ask(): Promise<number> {
  const seen = [...runs.values()].map(({ id, data, lines, events }) => [
    id,
    { generation: data.generation, lines: lines.length, events: events.length },
  ]);
  const query = new URLSearchParams({ seen: JSON.stringify(Object.fromEntries(seen)), ...(token && { token }) });
  try {
    const response = await fetch(`/data?${query}`, { cache: 'no-store' });
    if (response.status === 403) {
      tellConnection('no longer allowed: open the address that mixbct watch printed', true);
      return HIDDEN_MS;
    }
    if (!response.ok) throw new Error(await response.text());
    latest = (await response.json()) as WatchData;
  } catch {
    tellConnection('no connection: mixbct watch has ended; start it again and the page goes on', true);
    return LOST_MS;
  }
  latest.runs.forEach(take);
  const gone = [...runs.keys()].filter((id) => !latest!.runs.some((run) => run.id === id));
  for (const id of gone) {
    runs.delete(id);
    removeRow(id);
  }
  draw(latest);
  const states = latest.runs.map(({ state }) => state);
  const count = (state: string): number => states.filter((one) => one === state).length;
  const told = (['running', 'elsewhere', 'interrupted', 'finished'] as const)
    .filter((state) => count(state) > 0)
    .map((state) => `${count(state)} ${state === 'elsewhere' ? 'running elsewhere' : state}`);
  tellConnection(told.join(', ') || 'nothing has begun', false);
  const now = `${latest.runs.map(({ id, state }) => [id, state, runs.get(id)!.lines.length, runs.get(id)!.events.length])}`;
  pauseMs = now === known ? Math.min(2 * pauseMs, CALM_MS) : ASK_MS;
  known = now;
  return document.hidden ? HIDDEN_MS : pauseMs;
}

let timer = 0;
async function loop(): Promise<void> {
  clearTimeout(timer);
  const pause = await ask();
  clearTimeout(timer);
  timer = window.setTimeout(loop, pause);
}

const redraw = (): void => void (latest && draw(latest));
$('across').addEventListener('change', redraw);
$('log').addEventListener('change', redraw);
dark.addEventListener('change', redraw);
document.addEventListener('visibilitychange', () => void (document.hidden || loop()));
loop();
