import { existsSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { UserError } from '../src/base/errors.ts';
import { tell } from './bench.ts';

/**
 * Where a benchmark of large data may write: `$MIXBCT_BENCH_DIR`, else the system's folder for temporary files.
 * @throws UserError if it has no room for `bytes`.
 */
export function benchFolder(bytes: number): string {
  const base = resolve(process.env['MIXBCT_BENCH_DIR'] ?? tmpdir());
  if (!existsSync(base)) throw new UserError(`MIXBCT_BENCH_DIR=${base}: there is no such folder`);
  const { bavail, bsize } = statfsSync(base);
  const [free, needed] = [bavail * bsize, bytes].map((n) => Math.ceil(n / 1e6)) as [number, number];
  tell(`${base}: ${free} MB free, ${needed} MB needed`);
  if (free < needed)
    throw new UserError(`${base} has ${free} MB free, this benchmark needs ${needed} MB`, {
      hint: 'set MIXBCT_BENCH_DIR to a folder on a larger disk',
    });
  return base;
}
