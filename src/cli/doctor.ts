import type { Command } from 'commander';
import { command, print } from './context.ts';

export function doctorCommand(): Command {
  return command('doctor', 'show what this installation found and can do', 'mixbct doctor --json').action(
    async (options) => {
      const { describeInstallation } = await import('../info/installation.ts');
      const { found, complete } = await describeInstallation();
      const width = Math.max(...Object.keys(found).map((key) => key.length));
      const lines = Object.entries(found).map(([key, value]) => `${key.padEnd(width)}  ${String(value)}`);
      print(options, found, lines.join('\n'));
      if (!complete) process.exitCode = 2; // telling so is what this command is for
    },
  );
}
