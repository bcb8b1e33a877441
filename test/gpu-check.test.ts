// What of the check of a GPU can be known without one in a second; `bash scripts/gpu-check.sh --cpu` does the rest (docs/gpu.md).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireSameCourse } from '../scripts/gpu-check/courses.ts';
import { toMarkdown } from '../scripts/gpu-check/report.ts';
import { packageRoot } from '../src/base/version.ts';

const course = [9, 8, 7, 6.5, 6, 5.5, 5, 4.5];
const scaled = (by: number): number[] => course.map((loss) => loss * by);

test('losses on two devices may differ by roundings, and by no more', () => {
  const found = requireSameCourse('old', course, scaled(1.001));
  assert.deepEqual([found.steps, found.first, found.end], [8, 9, 4.75]);
  assert.deepEqual(requireSameCourse('old', course, undefined), { steps: 8, first: 9, end: 4.75 });
  assert.throws(
    () => requireSameCourse('old', course, scaled(1.05)),
    /old: on the GPU the first losses differ by 0\.05/,
  );
  assert.throws(() => requireSameCourse('old', course, [...course.slice(0, 6), 9, 9]), /the last by 0\.89/);
  assert.throws(() => requireSameCourse('old', course, course.slice(1)), /on the GPU/);
  assert.throws(() => requireSameCourse('old', course, course.with(3, Number.NaN)), /non-finite/);
  assert.throws(() => requireSameCourse('old', course.toReversed(), undefined), /the loss went from 4\.5 to 8\.5/);
});

test('the page has a line for each part, with why it was skipped, and a table of what it found', () => {
  const machine = { gpu: 'a GPU | of theirs', nvcc: null } as never;
  const step = { precision: 'bf16', secondsPerStep: { ours: 0.12345, peer: 0.2 } };
  const page = toMarkdown({
    machine,
    sections: [
      { name: 'step', outcome: 'done', seconds: 3, rows: [{ row: step }, { copies: { shareOfStep: 0.01 } }] },
      { name: 'extraction', outcome: 'skipped', seconds: 0, why: 'no CUDA device', rows: [] },
    ],
  });
  for (const line of [
    '* nvcc: –',
    '| extraction | skipped | 0 | no CUDA device |',
    '## step',
    '| precision | secondsPerStep ours | secondsPerStep peer |',
    '| bf16 | 0.1235 | 0.2 |',
    '## step: copies',
  ])
    assert.ok(page.includes(`\n${line}\n`), `${line}\n${page}`);
});

test('the script says what is wrong with how it is called', () => {
  const refused = (...words: readonly string[]): string => {
    const { status, stderr } = spawnSync('bash', [join(packageRoot, 'scripts/gpu-check.sh'), ...words], { encoding: 'utf8' }); // biome-ignore format: short
    assert.equal(status, 2, stderr);
    return stderr;
  };
  assert.match(refused('--gpu'), /unknown option --gpu/);
  assert.match(refused('--out'), /--out was given nothing/);
  assert.match(
    refused('--archive', 'none.tar.gz'),
    /none\.tar\.gz: no such file; node scripts\/gpu-pack\.mjs makes it/,
  );
});
