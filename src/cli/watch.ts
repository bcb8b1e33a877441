import { logLine } from '../base/progress.ts';
import { command, interruptible } from './context.ts';

const HOST = 'address to listen on, for other machines: 0.0.0.0 is all; the page then needs the token that is printed';

export const watchCommand = () =>
  command('watch', 'serve a live page of trainings and experiments, until Ctrl-C')
    .example('mixbct watch runs/mixbct runs/bct', 'mixbct watch runs/quickstart-1')
    .argument('<paths...>', 'folders of runs or experiments, begun or finished, or folders of these')
    .wholeOption('--port <n>', 'port of the page; 0: any that is free', { least: 0, most: 65_535 }, 7007)
    .option('--host <address>', HOST)
    .prints(async (paths: readonly string[], { json, ...options }) => {
      if (json) {
        const { Watched } = await import('../watch/watched.ts');
        return [new Watched(paths).data(), ''];
      }
      const { serveWatch } = await import('../watch/watch-server.ts');
      await using server = await serveWatch(paths, options);
      logLine(`live page: ${server.url} (Ctrl-C ends it; trainings go on)`);
      const signal = interruptible('');
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return undefined;
    });
