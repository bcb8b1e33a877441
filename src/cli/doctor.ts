import { command } from './context.ts';

export const doctorCommand = () =>
  command('doctor', 'show what this installation found and can do')
    .example('mixbct doctor --json')
    .prints(async () => {
      const { describeInstallation } = await import('../info/installation.ts');
      const { found, complete } = await describeInstallation();
      const width = Math.max(...Object.keys(found).map((key) => key.length));
      const lines = Object.entries(found).map(([key, value]) => `${key.padEnd(width)}  ${String(value)}`);
      if (!complete) process.exitCode = 2; // telling so is what this command is for
      return [found, lines.join('\n')];
    });
