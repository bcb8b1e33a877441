import { basename } from 'node:path';
import { version } from '../base/version.ts';
import type { Evaluation, TestResult } from '../eval/index.ts';
import type { PackResult } from '../eval/pack-accuracy-artifact.ts';
import { methodTitle } from '../methods/index.ts';
import { renderMarkdown } from '../report/markdown.ts';
import type { RunManifest } from '../runs/run-artifact.ts';
import { CARD_MARK } from './export-files.ts';

export type CardContent = {
  readonly manifest: RunManifest;
  /** Name of the file that the card stands beside. */
  readonly file: string;
  /** What the file says of itself. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Of labelled sets or of IJB, or accuracies on packs. */
  readonly evaluation: Evaluation | readonly PackResult[] | null;
  /** Whether the evaluation is known to be of this model. */
  readonly isOfModel: boolean;
};

/** Above figures of models that are not known by their digests. */
const NOT_CHECKED = 'That these figures are of this model was not checked: they name models without digests.';

/** The model card of an exported file, in Markdown: what it is, what it was trained on and how, what was measured. */
export function modelCard({ manifest, file, metadata, evaluation, isOfModel }: CardContent): string {
  const { name, recipe, dataset, imported } = manifest;
  const sections = [
    `${CARD_MARK}\n# ${name}`,
    `An embedding model: images to vectors of ${metadata['embedding_dim']} numbers that are compared by cosine similarity. Written by mixbct ${version}.`,
    table(['', ''], [['file', basename(file)], ...Object.entries(metadata)]),
    '## Data',
    dataset
      ? `Trained on ${basename(dataset.path)}: ${dataset.count} images of ${dataset.classes} classes (digest ${dataset.digest}).`
      : 'What it was trained on is not known.',
    '## Recipe',
    imported
      ? `Taken in from ${basename(imported.from)} (digest ${imported.digest}): how it was trained is not known. Its network:`
      : `Method ${methodTitle(recipe.method)}, preset ${recipe.preset}, ${manifest.steps} steps. ${oldModelText(manifest)}`,
    `\`\`\`json\n${JSON.stringify(imported ? recipe.network : recipe, null, 2)}\n\`\`\``,
    ...(manifest.differences.length > 0
      ? [`Differences from the reference:\n\n${manifest.differences.map((line) => `* ${line}`).join('\n')}`]
      : []),
    '## Evaluation',
    ...(evaluation !== null && !isOfModel ? [NOT_CHECKED] : []),
    evaluation === null
      ? 'None was given to the export.'
      : 'tests' in evaluation
        ? evaluationText(evaluation)
        : packText(evaluation),
  ];
  return `${sections.join('\n\n')}\n`;
}

const oldModelText = ({ old }: RunManifest): string =>
  old === 'none' ? 'No old model.' : `Trained to be compatible with an old model (${old}).`;

/** The report, one level deeper, and the scores from which on pairs are accepted. */
function evaluationText(evaluation: Evaluation): string {
  const report = renderMarkdown(evaluation).replace(/^#/gm, '##').trimEnd();
  const rows = evaluation.tests.flatMap(thresholdRows);
  if (rows.length === 0) return report;
  return `${report}\n\n### Thresholds\n\nA pair (of pictures, or of the templates of IJB) is accepted if its cosine similarity is above the threshold.\n\n${table(['query → gallery', 'FAR', 'threshold', 'TAR'], rows)}`;
}

const thresholdRows = ({ query, gallery, verification }: TestResult): string[][] =>
  (verification?.tar ?? []).flatMap(({ far, atMost, threshold }) =>
    typeof threshold !== 'number'
      ? []
      : [[`${query} → ${gallery}`, far.toExponential(), threshold.toFixed(6), `${(100 * atMost).toFixed(2)} %`]],
  );

/** Accuracies on packs. A fold is judged by the squared distance that is best on the others: for unit embeddings 2 - 2 cosine. */
function packText(results: readonly PackResult[]): string {
  const rows = results.map(({ pack, query, gallery, mean, std, thresholds = [] }) => {
    const cosines = thresholds.map((distance) => 1 - distance / 2);
    const [low, high] = [Math.min(...cosines), Math.max(...cosines)].map((cosine) => cosine.toFixed(3));
    const threshold = cosines.length === 0 ? '–' : low === high ? low! : `${low} to ${high}`;
    return [pack, `${query} → ${gallery}`, `${(100 * mean).toFixed(2)} ± ${(100 * std).toFixed(2)} %`, threshold];
  });
  const header = ['pack', 'query → gallery', 'accuracy in ten folds', 'threshold'];
  return `A pair is accepted if the cosine similarity of its embeddings, each the sum of a picture's and its mirror image's, is above the threshold, which is that of the other nine folds.\n\n${table(header, rows)}`;
}

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
