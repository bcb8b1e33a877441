import { command } from './context.ts';

export const logCommand = () =>
  command('log', 'show the log of a training, finished or not: losses, learning rate, speed, validations, messages')
    .example('mixbct log runs/mixbct', 'mixbct log runs/mixbct --csv > log.csv')
    .argument('<run>', 'folder of a run')
    .option('--csv', 'print all lines as CSV', false)
    .prints(async (run: string, { csv }) => {
      const [{ logTable, readRunLog, toCsv }, { formatLog }] = await Promise.all([
        import('../runs/run-log.ts'),
        import('../info/format-log.ts'),
      ]);
      const log = readRunLog(run);
      const { header, rows } = logTable(log);
      return [log, csv ? toCsv(header, rows) : formatLog(run, log)];
    });
