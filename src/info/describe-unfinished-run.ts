import { existsSync } from 'node:fs';
import { readJson } from '../artifacts/json-file.ts';
import { readTextFile } from '../base/text-file.ts';
import { runFiles } from '../runs/run-artifact.ts';
import type { Description } from './description.ts';

type Mapping = Readonly<Record<string, unknown>>;

/** A run that has a checkpoint and no manifest: what its recipe and its log tell. @throws FileError if the recipe is damaged. */
export function describeUnfinishedRun(path: string, size: Pick<Description, 'bytes' | 'files'>): Description {
  const { recipe: recipeFile, log } = runFiles(path);
  const recipe = existsSync(recipeFile) ? (readJson(recipeFile) as Readonly<Record<string, Mapping>> | null) : null;
  const { network, method } = recipe ?? {};
  return {
    path,
    kind: 'run',
    name: 'run',
    facts: {
      state: 'unfinished: the same mixbct train with --resume goes on with it',
      ...(network && { model: `${network['name']}, ${network['embeddingDim']} dimensions` }),
      ...(method && { method: String(method['kind']) }),
      ...lastStep(log),
    },
    sources: [],
    madeBy: null,
    ...size,
  };
}

/** The last step in the log. */
function lastStep(log: string): { readonly step?: number } {
  if (!existsSync(log)) return {};
  const steps = [...readTextFile(log).matchAll(/"step":(\d+)/g)];
  return steps.length > 0 ? { step: Number(steps.at(-1)![1]) } : {};
}
