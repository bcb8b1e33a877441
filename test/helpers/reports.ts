import type { TestContext } from 'node:test';
import { noProgress, setReporter } from '../../src/base/progress.ts';

/** Collects what the code under test reports until the test ends, or `restore` is called. */
export function reportsOf(t: TestContext): { readonly text: () => string; readonly restore: () => void } {
  const lines: string[] = [];
  const before = setReporter({ line: (text) => lines.push(text), progress: () => noProgress });
  const restore = (): void => void setReporter(before);
  t.after(restore);
  return { text: () => lines.map((line) => `${line}\n`).join(''), restore };
}
