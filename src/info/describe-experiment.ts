import { StageRecords } from '../experiment/records.ts';
import type { Description } from './description.ts';

/** What the records of an experiment's stages tell; null if there are none. @throws FileError if one is damaged. */
export function describeExperiment(path: string, size: Pick<Description, 'bytes' | 'files'>): Description | null {
  const records = new StageRecords(path);
  const stages = records.ids().map((id) => [id, records.read(id)!] as const);
  if (stages.length === 0) return null;
  const finished = stages.filter(([, { made }]) => made !== null).length;
  return {
    path,
    kind: 'experiment',
    name: 'experiment',
    facts: Object.fromEntries([
      ['stages', `${finished} of ${stages.length} begun are finished`],
      ...stages.map(([id, { made, mixbct }]) => [id, `${made ? 'finished' : 'unfinished'}, version ${mixbct}`]),
    ]),
    sources: [],
    madeBy: { command: 'mixbct run', mixbct: [...new Set(stages.map(([, { mixbct }]) => mixbct))].join(', ') },
    ...size,
  };
}
