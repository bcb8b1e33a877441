import { lstatSync } from 'node:fs';
import type { OutputKind } from '../artifacts/output-claim.ts';
import { readRegularFile } from '../base/regular-file.ts';

const MOST_READ = 64 << 20;

/** A file as text; empty if it cannot be read or is longer than a report. */
function textOf(path: string): string {
  try {
    if (lstatSync(path).size > MOST_READ) return '';
    return readRegularFile(path).toString('utf8');
  } catch {
    return '';
  }
}

/** A report may lie in the folder of an evaluation, which has such files of its own. */
const host = 'evaluation';

/** The files that `report` writes. `--force` recognises them by text that reports of every version contain. */
export const reportFiles = {
  html: {
    host,
    description: 'an HTML report',
    matches: (path) => /^<!doctype html>\n.*\n<h2>What the words mean<\/h2>\n/s.test(textOf(path)),
  },
  markdown: {
    host,
    description: 'a report in Markdown',
    matches: (path) => /^\| new model \| new → new \| new → old \||^All numbers are percent\.$/m.test(textOf(path)),
  },
  thresholds: {
    host,
    description: 'a file of thresholds',
    matches: (path) => /^\{\n? *"kind": "thresholds",/.test(textOf(path)),
  },
  /** A PNG file is one if it stands beside its SVG. */
  figure: {
    host,
    description: 'a figure of a report',
    matches: (path) =>
      /^<svg .*?>\n<title>.*<\/title>\n<rect width="100%" height="100%" fill="white"\/>\n/.test(
        textOf(path.replace(/\.png$/, '.svg')),
      ),
  },
} as const satisfies Record<string, OutputKind>;
