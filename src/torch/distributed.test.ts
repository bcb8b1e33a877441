// Collectives between real processes, and what keeps processes from meeting.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join as pathOf } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../test/helpers/folder.ts';
import { endsOf, freePort, inProcesses, needsPort } from '../../test/helpers/processes.ts';
import { listeners } from '../../test/helpers/sockets.ts';
import {
  buildInfo,
  hasNccl,
  joinProcessGroup,
  rankInfoOf,
  Store,
  scope,
  singleProcess,
  tensor,
  toNumbers,
} from './index.ts';
import { requireLoopbackStore } from './rendezvous.ts';

/** Connections of strangers to the port. */
const STRANGERS = 20;

const place = { RANK: '1', WORLD_SIZE: '2', LOCAL_RANK: '0', MASTER_ADDR: '127.0.0.1', MASTER_PORT: '29500' };

for (const processes of [2, 3])
  test(`${processes} processes reduce, gather, send and average`, async () => {
    const ranks = Array.from({ length: processes }, (_, rank) => rank);
    const sum = (of: (rank: number) => number): number => ranks.reduce((total, rank) => total + of(rank), 0);
    const answers = await inProcesses<ReturnType<typeof import('../../test/distributed/collectives.ts').run>>(
      processes,
      'collectives',
      null,
    );
    const last = processes - 1;
    for (const [rank, seen] of answers.entries()) {
      assert.deepEqual(seen.sum, [sum((r) => r + 1), sum((r) => 10 * r)]);
      assert.deepEqual(
        [seen.max, seen.min],
        [
          [processes, 10 * last],
          [1, 0],
        ],
      );
      assert.deepEqual(seen.fromLast, [processes, 10 * last]);
      assert.deepEqual(
        seen.gathered,
        ranks.flatMap((r) => [r + 1, 10 * r]),
      );
      assert.deepEqual(seen.together, [...seen.sum, ...seen.max]);
      assert.deepEqual(seen.ring, [rank === 0 ? -1 : rank - 1]);
      assert.deepEqual(
        seen.scattered,
        [0, 1].map((i) => processes * (2 * rank + i) + sum((r) => r)),
      );
      assert.deepEqual(seen.rows.all, [...ranks, ...ranks.map((r) => 10 + r)], 'row i of process r is row i·W + r');
      // all processes have the same loss: the sum of W equal gradients, times W
      const weights = [rank + 1, processes + rank + 1];
      assert.deepEqual(
        seen.rows.gradient,
        weights.map((weight) => processes * processes * weight),
      );
      assert.deepEqual(seen.gradientOfSum, [sum((r) => r + 1)]);
      assert.ok(Math.abs(seen.gradientOfShards[0]! - sum((r) => r + 1) / processes) < 1e-12);
      for (const { count, rounds } of seen.buckets) {
        assert.equal(count, 3);
        for (const [always, never, sometimes] of rounds) {
          assert.deepEqual(always, [2, 2 * (1 + sum((r) => r) / processes)]);
          assert.equal(never, null);
          assert.deepEqual(
            sometimes!.map((g) => g.toFixed(6)),
            [6 / processes, 6 / processes].map((g) => g.toFixed(6)),
          );
        }
      }
      assert.equal(seen.leaked, 0);
      assert.deepEqual(seen.first, { rank: 0 });
    }
  });

test('stores keep texts and numbers, in a file too', (t) => {
  const path = pathOf(testFolder(t), 'store');
  const store = Store.file(path, { processes: 1, timeoutMs: 200 });
  store.set('name', 'größer');
  assert.equal(store.get('name'), 'größer');
  assert.deepEqual([store.add('n', 2), store.add('n', 3)], [2, 5]);
  assert.deepEqual([store.has('name'), store.has('nothing')], [true, false]);
  store.prefixed('a').set('name', 'other');
  assert.equal(store.get('name'), 'größer');
  assert.throws(() => store.get('nothing'), { name: 'PeerLost' });
  store.close();
  assert.throws(() => store.get('name'), /closed/);
});

test('a single process needs no other for its collectives', () =>
  scope(() => {
    const x = tensor(Float64Array.of(1, 2));
    for (const result of [
      singleProcess.max(x),
      singleProcess.sum(x),
      singleProcess.sumOfShards(x),
      singleProcess.gather(x),
    ])
      assert.deepEqual(toNumbers(result), [1, 2]);
  }));

test('the place of a process is read from the variables of torchrun; what is wrong is named', () => {
  assert.deepEqual(rankInfoOf(place), { rank: 1, processes: 2, localRank: 0, address: '127.0.0.1', port: 29500 });
  assert.equal(rankInfoOf({}), null);
  assert.equal(rankInfoOf({ WORLD_SIZE: '1' }), null);
  const { LOCAL_RANK: _, ...without } = place;
  assert.equal(rankInfoOf(without)!.localRank, 1);
  for (const missing of ['RANK', 'MASTER_ADDR', 'MASTER_PORT'] as const)
    assert.throws(() => rankInfoOf({ ...place, [missing]: undefined }), new RegExp(`${missing} is not set\\n.*launch`));
  assert.throws(() => rankInfoOf({ ...place, RANK: '2' }), /RANK=2 with WORLD_SIZE=2: ranks go from 0 to 1/);
  assert.throws(() => rankInfoOf({ ...place, MASTER_PORT: 'http' }), /MASTER_PORT=http: wanted a whole number/);
  assert.throws(() => rankInfoOf({ ...place, WORLD_SIZE: '0' }), /WORLD_SIZE=0/);
});

test('a busy port and an absent master are told apart', needsPort, async () => {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, done));
  const { port } = server.address() as { port: number };
  const here = { rank: 0, processes: 2, localRank: 0, address: '127.0.0.1', port };
  assert.throws(() => joinProcessGroup(here, { joinTimeoutMs: 500 }), new RegExp(`port ${port} is busy`));
  await new Promise((done) => server.close(done));
  const elsewhere = { ...here, rank: 1, port: await freePort() };
  assert.throws(
    () => joinProcessGroup(elsewhere, { joinTimeoutMs: 500 }),
    /process 1 cannot reach process 0 at 127\.0\.0\.1:/,
  );
});

test('processes that do not fit together are refused, all with the same words', needsPort, async () => {
  const errorsOf = async (processes: number, env: Parameters<typeof endsOf>[3], task = 'collectives') =>
    (await endsOf(processes, task, null, env)).map(({ code, err }) => {
      assert.notEqual(code, 0);
      return err;
    });
  for (const err of await errorsOf(3, (rank) => ({ RANK: String(Math.min(rank, 1)) })))
    assert.match(err, /two processes of one run both have RANK 1/);
  for (const err of await errorsOf(2, (rank) => ({ WORLD_SIZE: String(2 + rank) })))
    assert.match(err, /WORLD_SIZE is \d in process \d and \d in another of the same run/);
  for (const err of await errorsOf(2, () => ({ WORLD_SIZE: '3', MIXBCT_TEST_JOIN_MS: '2000' })))
    assert.match(err, /1 of 3 processes did not come within 2 s: rank 2/);
  for (const err of await errorsOf(2, undefined, 'mismatch'))
    assert.match(err, /process 1 has another recipe than process 0 \(b, a\)/);
});

const SECRET = 'known to the processes of this run alone';

test(
  'processes with a secret meet through an encrypted port, which drops whoever does not know it',
  needsPort,
  async (t) => {
    const folder = testFolder(t);
    const secret = pathOf(folder, 'secret');
    writeFileSync(secret, `${SECRET}\n`, { mode: 0o600 });
    const port = String(await freePort());
    const env = { MASTER_PORT: port, MIXBCT_RDZV_SECRET_FILE: secret, MIXBCT_TEST_JOIN_MS: '60000' };
    const ends = endsOf(2, 'strangers', STRANGERS, () => env);
    const [first, second] = await ends;
    assert.deepEqual([first!.code, second!.code], [0, 0], first!.err + second!.err);
    assert.deepEqual(JSON.parse(first!.out), { sum: 3, addresses: ['127.0.0.1'] });
    const dropped = first!.err.match(
      /rendezvous: dropped a connection(?: from 127\.0\.0\.1)? that does not know the secret/g,
    );
    assert.equal(dropped?.length, 5, first!.err);
    assert.match(first!.err, /\(more are not reported\)/);
  },
);

test('another secret is refused, and none is wanted where others could connect', needsPort, async (t) => {
  const [right, wrong] = await endsOf(2, 'collectives', null, (rank) => ({
    MIXBCT_RDZV_SECRET: rank === 0 ? SECRET : `${SECRET}?`,
    MIXBCT_TEST_JOIN_MS: '4000',
  }));
  assert.match(wrong!.err, /process 1 was refused at 127\.0\.0\.1:\d+: the secrets differ\n/);
  assert.match(right!.err, /1 of 2 processes did not come within 4 s: rank 1/);
  const far = { rank: 0, processes: 2, localRank: 0, address: '192.0.2.1', port: 29500 };
  assert.throws(
    () => joinProcessGroup(far, { env: {} }),
    /MASTER_ADDR is 192\.0\.2\.1.*no secret.*\n.*MIXBCT_RDZV_SECRET_FILE/,
  );
  assert.throws(
    () => joinProcessGroup(far, { env: { MIXBCT_RDZV_SECRET: 'short' } }),
    /secret has 5 characters, at least 16/,
  );
  const open = pathOf(testFolder(t), 'open');
  writeFileSync(open, SECRET, { mode: 0o644 });
  assert.throws(
    () => joinProcessGroup(far, { env: { MIXBCT_RDZV_SECRET_FILE: open } }),
    /other users may read.*\n.*chmod 600/,
  );
  const absent = { MIXBCT_RDZV_SECRET_FILE: `${open}-absent` };
  assert.throws(() => joinProcessGroup(far, { env: absent }), /no such file, a rendezvous secret was expected/);
});

test('a store on loopback is not reachable from elsewhere', () => {
  const store = Store.tcp('127.0.0.1', 0, { isServer: true, timeoutMs: 2000, loopback: true });
  const major = Number(buildInfo().libtorch.split('.')[0]);
  const at = listeners(process.pid).filter(({ port }) => port === store.port);
  assert.deepEqual(at.map(({ address }) => address), [major >= 2 ? '127.0.0.1' : '::']); // biome-ignore format: short
  store.close();
});

test('a libtorch that would serve the rendezvous on all interfaces is refused', () => {
  requireLoopbackStore('2.13.0');
  assert.throws(
    () => requireLoopbackStore('1.13.1'),
    /libtorch 1\.13\.1 opens its rendezvous port on all network interfaces.*\n.*without --master-port/,
  );
});

test('a group over NCCL', { skip: hasNccl() ? false : 'this addon was built without NCCL' }, () => {
  assert.ok(hasNccl());
});
