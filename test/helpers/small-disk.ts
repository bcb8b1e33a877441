import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export type SmallDisk = { readonly path: string; resize(bytes: number): void; unmount(): void };

/** Mounts a disk of `bytes` bytes; null where that is not allowed. */
export function mountSmallDisk(bytes: number): SmallDisk | null {
  const path = mkdtempSync(join(tmpdir(), 'mixbct-disk-'));
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path]);
  const unmount = (): void => {
    if (status === 0) spawnSync('umount', ['-l', path]);
    rmSync(path, { recursive: true, force: true });
  };
  const resize = (size: number): void => void spawnSync('mount', ['-o', `remount,size=${size}`, path]);
  if (status === 0) return { path, resize, unmount };
  unmount();
  return null;
}

/** A disk of `bytes` bytes for one test, which is skipped where mounting is not allowed. */
export function smallDisk(t: TestContext, bytes: number): string | null {
  const disk = mountSmallDisk(bytes);
  t.after(() => disk?.unmount());
  if (!disk) t.skip('only root may mount a small disk');
  return disk?.path ?? null;
}
