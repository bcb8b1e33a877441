export { type Figure, figures, type Run } from './curves.ts';
export { renderHtml, renderSeriesHtml } from './html.ts';
export { renderMarkdown, renderSeriesMarkdown } from './markdown.ts';
export { renderPng } from './png.ts';
export { renderSeries, renderTerminal, textTable } from './terminal.ts';
