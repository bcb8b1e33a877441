export { renderBackfillHtml } from './backfill-html.ts';
export { type Figure, figures, type NamedEvaluation } from './curves.ts';
export { renderHtml, renderSummaryHtml } from './html.ts';
export { renderMarkdown, renderSummaryMarkdown } from './markdown.ts';
export { renderPng } from './png.ts';
export { renderSummary, renderTerminal, textTable } from './terminal.ts';
