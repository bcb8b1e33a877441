/** The element of the page with an id. */
export const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

/** A new element. What it shows is set as text, never as HTML. */
export function element(tag: string, text = '', className = ''): HTMLElement {
  const made = document.createElement(tag);
  if (text !== '') made.textContent = text;
  if (className !== '') made.className = className;
  return made;
}

/** The name of a run, isolated from the direction of what stands around it; long ones are cut, and whole when pointed at. */
export function nameElement(name: string): HTMLElement {
  const made = element('bdi', name, 'long');
  made.title = name;
  return made;
}

export const number = (value: number | null | undefined): string =>
  value === null || value === undefined || !Number.isFinite(value)
    ? '–'
    : value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5)
      ? value.toExponential(2)
      : String(Number(value.toPrecision(4)));
export const percent = (share: number | undefined): string =>
  share === undefined ? '–' : `${(100 * share).toFixed(1)} %`;

export function duration(seconds: number | null): string {
  if (seconds === null) return '–';
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  const m = Math.floor(s / 60);
  return m < 60 ? `${m} min ${s % 60} s` : `${Math.floor(m / 60)} h ${m % 60} min`;
}
