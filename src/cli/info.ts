import { command } from './context.ts';

export const infoCommand = () =>
  command('info', 'describe what is at a path, and what it was made from, back to the data set')
    .example('mixbct info runs/quickstart-1/judge')
    .argument('<path>', 'run, feature set, mask, prototypes, boundaries, evaluation, experiment or data set')
    .prints(async (path: string) => {
      const [{ describePath }, { followSources }, { formatDescription }] = await Promise.all([
        import('../info/describe.ts'),
        import('../info/follow.ts'),
        import('../info/format.ts'),
      ]);
      const description = await describePath(path);
      const sources = await followSources(description);
      return [{ ...description, sources }, formatDescription(description, sources)];
    });
