import { writeFileSync } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { writeAtomic } from '../artifacts/durable-write.ts';
import { type OutputKind, type OverwriteOptions, realPath, requireReplaceable } from '../artifacts/output-claim.ts';
import { UserError } from '../base/errors.ts';
import { entryAt } from '../base/regular-file.ts';
import type { Evaluation } from '../eval/index.ts';
import type { NamedEvaluation } from '../report/index.ts';
import { renderMarkdown, renderSummaryMarkdown } from '../report/markdown.ts';
import { reportFiles } from '../report/report-files.ts';

/** Curves need a document and a plotting library, which take longer to load than a table to print. */
const drawing = () => import('../report/index.ts');

type PageOptions = {
  /** Whether the page shows images of the dataset and names of its classes; default true. */
  readonly pictures?: boolean | undefined;
};

/** The HTML report of an evaluation, with pictures of its dataset where that is there. */
async function htmlOf(evaluation: Evaluation, { pictures = true }: PageOptions): Promise<string> {
  const { renderHtml, templatesWithoutPictures, withoutPictures } = await drawing();
  if (evaluation.protocol.name !== undefined) return renderHtml(evaluation, templatesWithoutPictures);
  if (!pictures) return renderHtml(evaluation, withoutPictures('This report was made without pictures.'));
  const { reportPictures } = await import('./report-pictures.ts');
  return renderHtml(evaluation, await reportPictures(evaluation));
}

/** Writes evaluation.json, report.html, report.md and, if asked, the figures. */
export async function writeReports(
  directory: string,
  evaluation: Evaluation,
  { figures = false, pictures }: PageOptions & { readonly figures?: boolean },
): Promise<void> {
  writeFileSync(join(directory, 'evaluation.json'), `${JSON.stringify(evaluation, null, 1)}\n`);
  writeFileSync(join(directory, 'report.html'), await htmlOf(evaluation, { pictures }));
  writeFileSync(join(directory, 'report.md'), renderMarkdown(evaluation));
  if (figures) await writeFigures(directory, [{ name: '', evaluation }], {});
}

export type ReportOptions = PageOptions & {
  /** One HTML file. */
  readonly html?: string;
  readonly markdown?: string;
  /** Folder of the figures as SVG and PNG files, all evaluations in each. */
  readonly figures?: string;
  readonly force?: boolean;
};

/** Reads evaluations again and writes the reports that are asked for. → the evaluations, by what tells their paths apart */
export async function reportEvaluations(
  paths: readonly string[],
  { html, markdown, figures, pictures, force = false }: ReportOptions,
): Promise<NamedEvaluation[]> {
  const { readEvaluation } = await import('../eval/evaluation-artifact.ts');
  const names = shortNames(paths);
  const runs = paths.map((path, i) => ({ name: names[i]!, evaluation: readEvaluation(path) }));
  const alone = runs.length === 1 ? runs[0]!.evaluation : undefined;
  const replacing = { force, inputs: paths };
  if (html) requireFile(html, reportFiles.html, replacing);
  if (markdown) requireFile(markdown, reportFiles.markdown, replacing);
  if (html && markdown && realPath(html) === realPath(markdown))
    throw new UserError(`${html}: the HTML and the Markdown report cannot be one file`);
  if (html) {
    const { renderSummaryHtml } = await drawing();
    writeAtomic(html, alone ? await htmlOf(alone, { pictures }) : renderSummaryHtml(runs));
  }
  if (markdown) writeAtomic(markdown, alone ? renderMarkdown(alone) : `${renderSummaryMarkdown(runs)}\n`);
  if (figures) await writeFigures(figures, runs, replacing);
  return runs;
}

/** @throws UserError if something stands at `path`, unless it is a file of this kind and `force` is set. */
export function requireFile(path: string, kind: OutputKind, replacing: OverwriteOptions): void {
  requireReplaceable(path, kind, replacing);
  if (path.endsWith(sep) || entryAt(path)?.isDirectory())
    throw new UserError(`${path} is a folder, wanted the name of a file`, { hint: 'choose another name' });
}

/** Writes every figure that the runs have curves for as an SVG and a PNG file. */
async function writeFigures(
  folder: string,
  runs: readonly NamedEvaluation[],
  replacing: OverwriteOptions,
): Promise<void> {
  const { figures, renderPng } = await drawing();
  const drawn = figures(runs);
  for (const { name } of drawn)
    for (const ending of ['svg', 'png']) requireFile(join(folder, `${name}.${ending}`), reportFiles.figure, replacing);
  for (const { name, svg } of drawn) {
    writeAtomic(join(folder, `${name}.svg`), svg);
    writeAtomic(join(folder, `${name}.png`), await renderPng(svg));
  }
}

/** What tells paths apart: without the folders that all begin or end with. */
function shortNames(paths: readonly string[]): string[] {
  const parts = paths.map((path) => resolve(path).split(sep));
  const shared = (at: (path: readonly string[], i: number) => string | undefined): number => {
    let i = 0;
    while (parts.every((path) => i < path.length - 1 && at(path, i) === at(parts[0]!, i))) i++;
    return i;
  };
  const [first, last] = [shared((path, i) => path[i]), shared((path, i) => path.at(-1 - i))];
  return parts.map((path) => path.slice(first, Math.max(path.length - last, first + 1)).join('/'));
}
