import { join } from 'node:path';
import { Argument } from 'commander';
import { readTextFile } from '../base/text-file.ts';
import { packageRoot } from '../base/version.ts';
import type { CommandLine } from './complete.ts';
import { command } from './context.ts';

const LINE = 'print what the last word of this command line can become: the scripts ask so';
const BREAKS = 'of bash: characters behind which it inserts (COMP_WORDBREAKS)';

export const completionCommand = (all: CommandLine) =>
  command('completion', 'print a script for a shell that completes commands, options, runs, recipes and settings')
    .example(
      'mixbct completion bash > ~/.local/share/bash-completion/completions/mixbct',
      'mixbct completion zsh > ~/.zfunc/_mixbct',
      'mixbct completion fish > ~/.config/fish/completions/mixbct.fish',
    )
    .addArgument(new Argument('<shell>', 'which one').choices(['bash', 'zsh', 'fish']))
    .argument('[line]', LINE)
    .argument('[breaks]', BREAKS)
    .prints(async (shell: string, line: string | undefined, breaks: string | undefined) => {
      if (line === undefined) {
        const script = readTextFile(join(packageRoot, `scripts/completion/mixbct.${shell}`)).trimEnd();
        return [{ shell, script }, script];
      }
      const { completeLine } = await import('./complete.ts');
      const completion = await completeLine(line, all, breaks);
      return [completion, [completion.kind, ...completion.found].join('\n')];
    });
