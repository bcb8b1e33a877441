import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../base/version.ts';
import { group } from './context.ts';

export const setupCommand = () =>
  group('setup', 'find or fetch libtorch, and build what computes with it')
    .example(
      'mixbct setup',
      'MIXBCT_LIBTORCH=cuda mixbct setup   (or wheel, debian; LIBTORCH=FOLDER names one)',
      'MIXBCT_HOME=FOLDER mixbct setup     (where to keep it; default ~/.cache/mixbct)',
    )
    .action(() => {
      const script = join(packageRoot, 'scripts/setup.mjs');
      const { status } = spawnSync(process.execPath, [script], { stdio: 'inherit' });
      if (status !== 0) process.exitCode = status ?? 1; // the script has said why
    });
