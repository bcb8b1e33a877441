export { renderHtml } from './html.ts';
export { renderMarkdown, renderSeriesMarkdown } from './markdown.ts';
export { renderSeries, renderTerminal, textTable } from './terminal.ts';
