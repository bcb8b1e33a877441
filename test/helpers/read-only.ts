import { spawnSync } from 'node:child_process';
import { chmodSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

/**
 * Takes the right to write to a folder; the test is skipped where that is not possible.
 * @returns what gives it back before the test ends; null if nothing could be taken
 */
export function readOnly(t: TestContext, folder: string): (() => void) | null {
  const mount = (...args: readonly string[]): boolean => spawnSync('mount', [...args, folder]).status === 0;
  if (process.getuid?.() !== 0) {
    const set = (mode: number): void => {
      chmodSync(folder, mode);
      for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
        chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? mode : mode & 0o666);
    };
    set(0o555);
    return () => set(0o755);
  }
  // root may write whatever the modes say, but not to a disk that is mounted so
  const unmount = (): void => void spawnSync('umount', ['-l', folder]);
  if (mount('--bind', folder)) {
    if (mount('-o', 'remount,bind,ro')) return unmount;
    unmount();
  }
  t.skip('root writes to any folder here, and none may be mounted read-only');
  return null;
}
