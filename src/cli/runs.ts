import { command } from './context.ts';

export const runsCommand = () =>
  command('runs', 'list the runs and evaluations in a folder: state, method, data, metrics, age')
    .example('mixbct runs', 'mixbct runs runs/quickstart-1 --json')
    .argument('[folder]', 'folder that is looked through', 'runs')
    .prints(async (folder: string) => {
      const { formatRuns, listRuns } = await import('../info/list-runs.ts');
      const listed = listRuns(folder);
      return [listed, formatRuns(folder, listed)];
    });
