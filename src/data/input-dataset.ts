import { logLine } from '../base/progress.ts';
import type { Dataset } from './dataset.ts';
import { openDataset } from './open-dataset.ts';
import { describeSkippedFiles } from './skipped-files.ts';

/** Opens the dataset of a command and reports skipped files, unless another process does. */
export function openInputDataset(path: string, { report = true }: { readonly report?: boolean } = {}): Dataset {
  const dataset = openDataset(path);
  if (report && dataset.skippedFiles)
    for (const line of describeSkippedFiles(dataset.skippedFiles)) logLine(`${path}: ${line}`);
  return dataset;
}
