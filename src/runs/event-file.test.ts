import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeEvents } from '../../test/helpers/event-decoder.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { crc32c, EventFile, encodeRecord, type ScalarEvent } from './event-file.ts';

const event = (step: number, scalars: ScalarEvent['scalars']): ScalarEvent => ({
  step,
  time: new Date(1.7e12 + 1000 * step).toISOString(),
  scalars,
});

const eventsIn = (folder: string) => {
  const [name, ...others] = readdirSync(folder);
  assert.deepEqual(others, []);
  assert.match(name!, /^events\.out\.tfevents\.\d+\./);
  return decodeEvents(readFileSync(join(folder, name!)));
};

test('CRC-32C is that of RFC 3720', () => {
  const ascending = Uint8Array.from({ length: 32 }, (_, i) => i);
  for (const [bytes, crc] of [
    [new Uint8Array(32), 0x8a9136aa],
    [new Uint8Array(32).fill(0xff), 0x62a8ab43],
    [ascending, 0x46dd794e],
    [ascending.toReversed(), 0x113fdb5c],
    [Buffer.from('123456789'), 0xe3069283],
  ] as const)
    assert.equal(crc32c(bytes), crc);
});

test('a decoder that checks every checksum reads what was written; a changed byte is found', (t) => {
  const folder = join(testFolder(t), 'tensorboard');
  const file = new EventFile(folder, [event(1, { loss: 2.5 })]);
  file.write(event(70_000, { loss: 0.125, 'terms/classify': 1e-20, 'train/gradient norm': Number.NaN, x: null }));
  assert.deepEqual(eventsIn(folder), [
    { fileVersion: 'brain.Event:2' },
    { start: true },
    { step: 1, wallTime: 1.7e9 + 1, scalars: { loss: 2.5 } },
    { step: 70_000, wallTime: 1.7e9 + 70_000, scalars: { loss: 0.125, 'terms/classify': Math.fround(1e-20) } },
  ]);
  new EventFile(folder, []);
  assert.equal(eventsIn(folder).length, 2, 'a file of an earlier attempt is gone');
  const record = encodeRecord(Buffer.from([8, 1]));
  for (let i = 0; i < record.length; i++) {
    const damaged = Buffer.from(record);
    damaged[i]! ^= 4;
    assert.throws(() => decodeEvents(damaged), `byte ${i}`);
  }
});

const READER = `
import sys, json
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0}); a.Reload()
print(json.dumps({tag: [[e.step, e.wall_time, e.value] for e in a.Scalars(tag)] for tag in a.Tags()['scalars']}))
`;

test('TensorBoard reads it with its own reader', (t) => {
  const python = (...args: string[]) => spawnSync('python3', args, { encoding: 'utf8' });
  if (python('-c', 'import tensorboard').status !== 0) return t.skip('python3 has no tensorboard');
  const folder = join(testFolder(t), 'tensorboard');
  const file = new EventFile(folder, [event(1, { loss: 2.5 })]);
  for (const step of [2, 3]) file.write(event(step, { loss: 1 / step, 'validation/new → old rank-1': 0.5 }));
  const { stdout, stderr } = python('-c', READER, folder);
  assert.deepEqual(JSON.parse(stdout || stderr), {
    loss: [[1, 1.7e9 + 1, 2.5], [2, 1.7e9 + 2, 0.5], [3, 1.7e9 + 3, Math.fround(1 / 3)]],
    'validation/new → old rank-1': [[2, 1.7e9 + 2, 0.5], [3, 1.7e9 + 3, 0.5]],
  }); // biome-ignore format: a table
});
