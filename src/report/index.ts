export { renderBackfillHtml } from './backfill-html.ts';
export type { NamedEvaluation } from './curve-lines.ts';
export { type Figure, figures } from './curves.ts';
export { renderHtml, renderSummaryHtml } from './html.ts';
export { renderMarkdown, renderSummaryMarkdown } from './markdown.ts';
export { pictureExamples, type ReportPictures, templatesWithoutPictures, withoutPictures } from './pictures.ts';
export { renderPng } from './png.ts';
export { renderSummary, renderTerminal, textTable } from './terminal.ts';
