import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { UserError } from '../../src/base/errors.ts';
import { Rng } from '../../src/base/rng.ts';

/** One to three changes: another byte, one of `bytes`, a piece left out, doubled or moved, or the end cut off. */
export function damage(source: Buffer, bytes: readonly number[], rng: Rng): Buffer {
  let out = source;
  for (let changes = 1 + rng.integer(3); changes > 0 && out.length > 0; changes--) {
    const [a, b] = [rng.integer(out.length), rng.integer(out.length)].sort((x, y) => x - y) as [number, number];
    const kind = rng.integer(6);
    if (kind === 0) out[a] = rng.integer(256);
    else if (kind === 1) out[a] = bytes[rng.integer(bytes.length)]!;
    else if (kind === 2) out = Buffer.concat([out.subarray(0, a), out.subarray(Math.min(b, a + 16))]);
    else if (kind === 3)
      out = Buffer.concat([out.subarray(0, b), out.subarray(a, Math.min(b, a + 64)), out.subarray(b)]);
    else if (kind === 4) out[a] = out[b]!;
    else if (rng.integer(4) === 0) out = out.subarray(0, a);
  }
  return out;
}

/** Numbers that make lengths, counts and offsets go wrong, as they stand in text and in four bytes. */
const EXTREMES = [-1, 0x7fffffff, 0x80000000, 0x1fffffff, 0x20000000, 0xffffffff, 2 ** 53, 1e15, 1e30];

function extreme(source: Buffer, rng: Rng): Buffer {
  const value = EXTREMES[rng.integer(EXTREMES.length)]!;
  const at = rng.integer(source.length);
  if (rng.integer(2) === 0) {
    const end = Math.min(source.length, at + 4);
    for (let i = at; i < end; i++) source[i] = Math.floor((value % 2 ** 32) / 2 ** (8 * (i - at))) & 255;
    return source;
  }
  const text = source.toString('latin1');
  const digits = /\d+/g;
  digits.lastIndex = at;
  const found = digits.exec(text);
  return found ? Buffer.from(text.slice(0, found.index) + value + text.slice(digits.lastIndex), 'latin1') : source;
}

const ROUNDS = 10_000;
/** Longest time for one small file in milliseconds: a thousand times what it takes, for busy machines. */
const LONGEST_MS = 1000;
/** What ten thousand small files may add to the most that the process ever held, in kilobytes. */
const MOST_KB = 400_000;

/** Writes a file anew: to cut and fill an old one makes some file systems wait for the disk. */
export function writeAnew(path: string, bytes: Uint8Array): void {
  rmSync(path, { force: true });
  writeFileSync(path, bytes);
}

/**
 * Gives ten thousand damaged copies of files to `read`, which must return or refuse them with a UserError, soon and in
 * little memory. → how often it did which
 */
export function readDamaged(
  sources: readonly Buffer[],
  read: (damaged: Buffer, source: number) => void,
): { readonly read: number; readonly refused: number } {
  const rng = new Rng('damaged files');
  const bytes = [...new Set(Buffer.concat(sources))];
  const before = process.resourceUsage().maxRSS;
  const counts = { read: 0, refused: 0 };
  for (let i = 0; i < ROUNDS; i++) {
    const source = rng.integer(sources.length);
    const copy = Buffer.from(sources[source]!);
    const damaged = rng.integer(4) === 0 ? extreme(copy, rng) : damage(copy, bytes, rng);
    const startedMs = performance.now();
    try {
      read(damaged, source);
      counts.read++;
    } catch (error) {
      assert.ok(error instanceof UserError, `${damaged.toString('hex')}: ${(error as Error).stack}`);
      counts.refused++;
    }
    assert.ok(performance.now() - startedMs < LONGEST_MS, damaged.toString('hex'));
  }
  assert.ok(process.resourceUsage().maxRSS - before < MOST_KB, 'memory');
  return counts;
}
