// Disk full after a number of bytes: the command says so and leaves nothing that can be taken for its output; when there is
// room, the same command ends as if nothing had been.
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Rng } from '../../src/base/rng.ts';
import { mountSmallDisk } from '../../test/helpers/small-disk.ts';
import { writers } from '../../test/helpers/writers.ts';
import { again, attempt, differences, removeOutput, wrongEnd } from './attempts.ts';

const PAGE = 4096;
const ROOM = 256 << 20;

/** @returns what was lost, or null where no disk may be mounted; `bytes`: what the command writes */
export async function filled(
  name: string,
  folder: string,
  disks: number,
  rng: Rng,
  bytes: number,
): Promise<string[] | null> {
  const { last, makes, resumes = makes === 'folder' } = writers[name]!;
  const lost: string[] = [];
  for (let i = 0; i < disks && lost.length === 0; i++) {
    const size = PAGE * (1 + Math.floor((bytes / PAGE) * ((i + rng.uniform()) / disks)));
    const disk = mountSmallDisk(size);
    if (!disk) return null;
    try {
      const out = join(relative(folder, disk.path), 'out-full');
      const ended = await attempt(folder, writers[name]!.make(out));
      lost.push(...wrongEnd(ended, [0, 2]));
      if (ended.code === 2) {
        if (!/the disk (is full|quota)|need .* have /.test(ended.err)) lost.push(ended.err.slice(-300));
        if (last && existsSync(join(folder, out + last))) lost.push(`${out + last} is there`);
        if (!resumes && readdirSync(disk.path).some((file) => file.includes('.part')))
          lost.push(`left: ${readdirSync(disk.path)}`);
        disk.resize(ROOM);
        lost.push(...wrongEnd(await attempt(folder, again(name, folder, out)), [0]));
      }
      lost.push(...differences(folder, out));
      if (lost.length > 0) lost.push(`(a disk of ${size} bytes)`);
      removeOutput(folder, out);
    } finally {
      disk.unmount();
    }
  }
  return lost;
}
