import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { linkedHeads, linkedTerm } from './definitions.ts';
import { htmlText } from './format.ts';
import { pageStyle } from './page-style.ts';
import type { TitledTable } from './summary-tables.ts';

/** A name that others chose: its direction stays its own, and a long one breaks. */
export const nameHtml = (name: string): string => `<bdi class="name">${htmlText(name)}</bdi>`;

/** A name for a place with room for few letters. */
export const shortName = (name: string, letters: number): string => {
  const all = [...name];
  return all.length > letters ? `${all.slice(0, letters - 1).join('')}…` : name;
};

/** JSON as the content of a script element. */
export const jsonScript = (value: unknown): string =>
  `<script type="application/json">${JSON.stringify(value).replaceAll('<', '\\u003c')}</script>`;

let compiled: string | undefined;

/** The compiled program of the page. */
const pageScript = (): string => {
  compiled ??= readFileSync(new URL('./page/script.js', import.meta.url), 'utf8').replace(/^export \{\};\n|^\/\/.*\n?/gm, ''); // biome-ignore format: short
  return `\n${compiled}`;
};

type PageOptions = {
  /** Adds the program that curves and tables work with. */
  readonly interactive?: boolean;
  /** Names of its parts by their ids. */
  readonly contents?: readonly (readonly [id: string, title: string])[];
};

/** A whole page with styles, which may load nothing: its policy says so to the browser. `sections` are HTML. */
export function page(
  title: string,
  sections: readonly string[],
  { interactive = false, contents = [] }: PageOptions = {},
): string {
  const script = interactive ? pageScript() : '';
  const hash = createHash('sha256').update(script).digest('base64');
  const policy = `default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src ${interactive ? `'sha256-${hash}'` : "'none'"}; base-uri 'none'; form-action 'none'`;
  const links = contents.map(([id, name]) => `<a href="#${id}">${htmlText(name)}</a>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${htmlText(title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<header>
<h1>${nameHtml(title)}</h1>
<button type="button" class="theme" hidden>Colours: auto</button>
</header>
${links.length > 0 ? `<nav aria-label="Contents">${links.join('')}</nav>\n` : ''}<main>
${sections.join('\n')}
</main>
${interactive ? `<script type="module">${script}</script>\n` : ''}</body>
</html>
`;
}

/** A table whose heads link to definitions; cells are text. */
export function table(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  { caption }: { readonly caption?: string } = {},
): string {
  const heads = linkedHeads(header).map((cell) => `<th scope="col">${cell}</th>`);
  const lines = rows.map(([first = '', ...rest]) => {
    const head = /→/.test(first) ? nameHtml(first) : linkedTermOrName(first);
    return `<tr><th scope="row">${head}</th>${rest.map((cell) => `<td>${htmlText(cell)}</td>`).join('')}</tr>`;
  });
  return `<div class="wide" tabindex="0" role="group" aria-label="table"><table class="sortable">${caption ? `<caption>${htmlText(caption)}</caption>` : ''}
<thead><tr>${heads.join('')}</tr></thead>
<tbody>
${lines.join('\n')}
</tbody></table></div>`;
}

const linkedTermOrName = (text: string): string => {
  const linked = linkedTerm(text);
  return linked.startsWith('<a') ? linked : nameHtml(text);
};

/** A table under a heading. */
export const titledSection = ({ title, header, rows }: TitledTable, level = 2): string =>
  `<h${level}>${nameHtml(title)}</h${level}>\n${table(header, rows)}`;

export const definitionList = (entries: readonly (readonly [term: string, text: string])[]): string =>
  `<dl>${entries.map(([term, text]) => `<dt>${nameHtml(term)}</dt><dd>${htmlText(text)}</dd>`).join('\n')}</dl>`;

/** A part of the page that is closed until somebody wants it. */
export const details = (summary: string, content: string, { open = false } = {}): string =>
  `<details${open ? ' open' : ''}><summary>${summary}</summary>\n${content}\n</details>`;

type Drawn = { readonly content: string; readonly height: number; readonly attributes?: string };

/** A drawing for wide and for narrow screens: styles show one of them. `attributes` are of the SVG element. */
export const drawings = (label: string, draw: (size: DrawingSize) => Drawn, { broad = 720 } = {}): string =>
  (
    [
      { name: 'broad', width: broad },
      { name: 'narrow', width: 352 },
    ] as const
  )
    .map((size) => svgElement(label, size, draw(size)))
    .join('\n');

/** The SVG element of a drawing for one size of screens, or for all. */
export const svgElement = (
  label: string,
  { name, width }: { readonly name: string; readonly width: number },
  { content, height, attributes = '' }: Drawn,
): string =>
  `<svg class="${name}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${htmlText(label)}" font-size="12" fill="currentColor" text-anchor="middle"${attributes}>${compact(content)}</svg>`;

/** A drawing with coordinates to a tenth of a pixel, which halves it, and without the labels of its parts: it has one of its own. */
const compact = (svg: string): string =>
  svg
    .replace(/ aria-label="[^"]*"/g, '')
    .replace(/ (?:d|transform|c?[xy][12]?)="[^"]*"/g, (attribute) =>
      attribute.replace(/\d+\.\d\d+/g, (number) => `${Math.round(10 * Number(number)) / 10}`),
    );

export type DrawingSize = { readonly name: 'broad' | 'narrow'; readonly width: number };
