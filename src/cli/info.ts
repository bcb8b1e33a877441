import type { Command } from 'commander';
import { command, print } from './context.ts';

export function infoCommand(): Command {
  return command(
    'info',
    'describe what is at a path, and what it was made from, back to the data set',
    'mixbct info runs/quickstart-1/judge',
  )
    .argument('<path>', 'run, feature set, mask, prototypes, boundaries, evaluation, experiment or data set')
    .action(async (path: string, options) => {
      const [{ describePath }, { followSources }, { formatDescription }] = await Promise.all([
        import('../info/describe.ts'),
        import('../info/follow.ts'),
        import('../info/format.ts'),
      ]);
      const description = await describePath(path);
      const links = await followSources(description);
      print(options, { ...description, sources: links }, formatDescription(description, links));
    });
}
