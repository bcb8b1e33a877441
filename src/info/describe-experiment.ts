import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readJson } from '../artifacts/json-file.ts';
import type { Description } from './description.ts';

const recordsFolder = (path: string): string => join(path, '.stages');

export const isExperiment = (path: string): boolean => existsSync(recordsFolder(path));

/** What the records of an experiment's stages tell. @throws FileError if one is damaged. */
export function describeExperiment(path: string, size: Pick<Description, 'bytes' | 'files'>): Description {
  const records = readdirSync(recordsFolder(path)).filter((name) => name.endsWith('.json'));
  const stages = records.sort().map((name) => {
    const record = readJson(join(recordsFolder(path), name)) as Readonly<Record<string, unknown>> | null;
    const places = record?.['made'];
    const finished = places !== null && typeof places === 'object';
    const { mixbct } = { mixbct: '0.3.0', ...record }; // which recorded no version
    return { id: basename(name, '.json'), finished, mixbct: String(mixbct) };
  });
  return {
    path,
    kind: 'experiment',
    name: 'experiment',
    facts: Object.fromEntries([
      ['stages', `${stages.filter(({ finished }) => finished).length} of ${stages.length} begun are finished`],
      ...stages.map(({ id, finished, mixbct }) => [id, `${finished ? 'finished' : 'unfinished'}, version ${mixbct}`]),
    ]),
    sources: [],
    madeBy: { command: 'mixbct run', mixbct: [...new Set(stages.map(({ mixbct }) => mixbct))].join(', ') },
    ...size,
  };
}
