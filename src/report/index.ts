export { renderHtml } from './html.ts';
export { renderMarkdown } from './markdown.ts';
export { renderTerminal, textTable } from './terminal.ts';
