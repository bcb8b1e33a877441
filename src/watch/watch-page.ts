import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { watchStyle } from './watch-style.ts';

const require = createRequire(import.meta.url);
const read = (path: string): string => readFileSync(path, 'utf8');

/** The scripts of the page, each after those that it imports: they become one, so that the page asks for no other file. */
const CLIENT = ['colours', 'elements', 'state', 'charts', 'tables', 'main'] as const;
const withoutImports = (script: string): string =>
  script
    .replace(/^import [^;]*;$/gm, '')
    .replace(/^export (?=const |function )/gm, '')
    .replace(/^(export \{\};|\/\/# sourceMappingURL.*)$/gm, '');

/** What the page is made of; read once. */
let parts: { readonly plotStyle: string; readonly plot: string; readonly script: string } | undefined;
const partsOfPage = () => {
  parts ??= {
    plotStyle: read(require.resolve('uplot/dist/uPlot.min.css')),
    plot: read(require.resolve('uplot/dist/uPlot.iife.min.js')),
    script: CLIENT.map((name) => withoutImports(read(join(import.meta.dirname, 'client', `${name}.js`)))).join('\n'),
  };
  return parts;
};

/** The page with its styles and scripts, and the policy by which a browser runs no others and asks no other server. */
export function watchPage(): { readonly html: string; readonly policy: string } {
  const { plotStyle, plot, script } = partsOfPage();
  const nonce = randomBytes(16).toString('base64');
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>mixbct watch</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${plotStyle}${watchStyle}</style>
</head>
<body>
<header>
<h1><bdi id="title">…</bdi></h1>
<p id="connection" role="status">loading</p>
</header>
<main>
<section id="stages" aria-label="Stages" hidden></section>
<section aria-labelledby="runs-title">
<h2 id="runs-title">Runs</h2>
<div class="wide" tabindex="0" role="region" aria-labelledby="runs-title"><table id="runs">
<thead><tr><th scope="col">run</th><th scope="col">state</th><th scope="col">step</th><th scope="col">epoch</th><th scope="col">loss</th><th scope="col">learning rate</th><th scope="col">samples/s</th><th scope="col">data wait</th><th scope="col">gradient norm</th><th scope="col">time left</th></tr></thead>
<tbody></tbody></table></div>
<p id="not-shown" class="empty" hidden></p>
</section>
<section aria-labelledby="curves-title">
<h2 id="curves-title">Curves</h2>
<p class="controls">
<label>across <select id="across"><option value="step">steps</option><option value="share">share of the run</option><option value="time">time since its start</option></select></label>
<label><input type="checkbox" id="log"> logarithmic losses</label>
</p>
<div id="charts"><p class="empty">No step is logged yet.</p></div>
</section>
<section aria-labelledby="messages-title">
<h2 id="messages-title">Messages</h2>
<ul id="messages"></ul>
</section>
</main>
<script nonce="${nonce}">${plot}</script>
<script nonce="${nonce}" type="module">${script}</script>
</body>
</html>
`;
  return { html, policy };
}
