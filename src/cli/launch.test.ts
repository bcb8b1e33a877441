// The launcher with real processes: what it prints, how it ends, and that nothing is left.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { mixbctProcess } from '../../test/helpers/cli.ts';
import { testFolder } from '../../test/helpers/folder.ts';
import { writeTinySet } from '../../test/helpers/images.ts';
import { freePort, needsPort } from '../../test/helpers/processes.ts';
import { connections, listeners, pester } from '../../test/helpers/sockets.ts';
import { checkLaunch } from '../launch/check-launch.ts';

const main = resolve(import.meta.dirname, 'main.js');
/** From the death of one process to the end of all. */
const WITHIN_MS = 10_000;

/** A folder with a data set and a recipe of so many epochs of four steps. */
async function workshop(t: TestContext, epochs: number): Promise<string> {
  const folder = testFolder(t);
  await writeTinySet(join(folder, 'set'), { perClass: [9, 8, 7, 9, 8, 9] });
  const recipe = {
    network: { name: 'vit_t', embeddingDim: 8, inputSide: 32, width: 1 / 32 },
    optimizer: { kind: 'sgd', lr: 0.02 },
    batchSize: 12,
    epochs,
  };
  writeFileSync(join(folder, 'recipe.yaml'), stringify(recipe));
  return folder;
}

const training = ['--', 'train', 'recipe.yaml', '--data', 'set', '--out', 'run', '--log-every', '1'];

/** The launcher at work: its output so far, its processes, and its end. */
class Launched {
  text = '';
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(cwd: string, ...args: readonly string[]) {
    const env = { ...process.env, NO_COLOR: '1', OMP_NUM_THREADS: '1' };
    this.child = spawn(process.execPath, [main, 'launch', ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout!, this.child.stderr!]) stream.on('data', (text) => (this.text += text));
    this.ended = new Promise((done) => this.child.once('close', done));
  }

  /** Process ids by rank. */
  processes(): Map<number, number> {
    const path = `/proc/${this.child.pid}/task/${this.child.pid}/children`;
    const ids = readFileSync(path, 'utf8').trim().split(' ').map(Number);
    const rankOf = (id: number): number =>
      Number(readFileSync(`/proc/${id}/environ`, 'utf8').match(/(?:^|\0)RANK=(\d+)/)![1]);
    return new Map(ids.map((id) => [rankOf(id), id]));
  }

  async until(holds: () => boolean): Promise<void> {
    for (const start = performance.now(); !holds(); ) {
      if (performance.now() - start > 60_000) throw new Error(`waited too long; so far: ${this.text}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }
}

/** Connections of strangers to each port. */
const STRANGERS = 20;

const begun = (folder: string) => (): boolean => {
  const log = join(folder, 'run/log.jsonl');
  return existsSync(log) && readFileSync(log, 'utf8').split('\n').length > 3;
};
const alive = (id: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${id}/status`, 'utf8'));
  } catch {
    return false;
  }
};

test('processes are numbered on the screen, work together, and leave a finished run', async (t) => {
  const folder = await workshop(t, 1);
  const { code, out, err } = mixbctProcess(folder, 'launch', '--nproc', '2', ...training);
  assert.equal(code, 0, err);
  assert.match(out, /^\[0\] run: run trained in 4 steps/m);
  assert.ok(
    ![...out.split('\n'), ...err.split('\n')].some((line) => line !== '' && !/^\[[01]\] /.test(line)),
    out + err,
  );
  assert.equal(JSON.parse(readFileSync(join(folder, 'run/manifest.json'), 'utf8')).processes, 2);
});

test(
  'when one process is killed, all end, its fate stands last, and neither process nor port is left',
  needsPort,
  async (t) => {
    const folder = await workshop(t, 500);
    const port = await freePort();
    const launched = new Launched(folder, '--nproc', '3', '--master-port', String(port), ...training);
    await launched.until(begun(folder));
    const processes = launched.processes();
    assert.deepEqual([...processes.keys()].sort(), [0, 1, 2]);
    const start = performance.now();
    process.kill(processes.get(1)!, 'SIGKILL');
    assert.equal(await launched.ended, 128 + 9);
    assert.ok(performance.now() - start < WITHIN_MS, `${performance.now() - start} ms`);
    assert.match(launched.text, /process 1 was ended by SIGKILL after .*; the others were stopped\. It said last:\s*$/);
    assert.deepEqual([...processes.values()].filter(alive), []);
    await new Promise<void>((done, fail) => {
      const server = createServer().on('error', fail);
      server.listen(port, () => server.close(() => done()));
    });
    const resumed = mixbctProcess(
      folder,
      'train',
      'recipe.yaml',
      '--data',
      'set',
      '--out',
      'run',
      '--resume',
      '--set',
      'epochs=1',
    );
    assert.match(resumed.err, /written with another recipe/, 'there is a checkpoint, of this recipe alone');
  },
);

test('processes of one machine meet on loopback alone, and strangers at their ports do no harm', async (t) => {
  const folder = await workshop(t, 40);
  const launched = new Launched(folder, '--nproc', '2', ...training);
  await launched.until(begun(folder));
  const processes = [...launched.processes().values()];
  const connected = processes.flatMap(connections).map(({ address }) => address);
  assert.deepEqual([...new Set(connected)], ['127.0.0.1'], 'Gloo connects');
  const listening = processes.flatMap(listeners);
  assert.ok(listening.length > 0 || needsPort.skip, 'Gloo listens, that of libtorch 1 until all have met');
  for (const { address, port } of listening) {
    assert.equal(address, '127.0.0.1');
    for (let i = 0; i < STRANGERS; i++) await pester(port, i);
  }
  assert.equal(await launched.ended, 0, launched.text);
  assert.match(launched.text, /run trained in 160 steps/);
});

test('an error of all processes stands last, with its exit code', async (t) => {
  const folder = await workshop(t, 1);
  const { code, err } = mixbctProcess(folder, 'launch', '--nproc', '5', ...training);
  assert.equal(code, 2);
  assert.match(
    err,
    /process \d ended with code 2 .* It said last:\nerror: batchSize 12 does not divide among 5 .*\n.*hint.*\n$/,
  );
  assert.ok(!existsSync(join(folder, 'run')));
});

test('Ctrl-C at the launcher stops all at one step, and one process can go on', async (t) => {
  const folder = await workshop(t, 200);
  const launched = new Launched(folder, '--nproc', '2', ...training);
  await launched.until(begun(folder));
  launched.child.kill('SIGINT');
  assert.equal(await launched.ended, 1, launched.text);
  assert.match(launched.text, /all processes have stopped\n {2}go on with: mixbct launch .* --resume\n$/);
  const steps = [...launched.text.matchAll(/stopped at step (\d+) of 800/g)].map(([, step]) => step);
  assert.equal(steps.length, 2);
  assert.equal(new Set(steps).size, 1);
  const lastStep = (): number =>
    JSON.parse(readFileSync(join(folder, 'run/log.jsonl'), 'utf8').trim().split('\n').at(-1)!).step;
  const again = new Launched(folder, '--nproc', '1', ...training, '--resume');
  await again.until(() => lastStep() > Number(steps[0]) || again.text.includes('error'));
  again.child.kill('SIGTERM');
  assert.equal(await again.ended, 1);
  assert.doesNotMatch(again.text, /error/);
});

test('a launcher that is killed takes its processes with it', async (t) => {
  const folder = await workshop(t, 500);
  const launched = new Launched(folder, '--nproc', '2', ...training);
  await launched.until(begun(folder));
  const processes = [...launched.processes().values()];
  launched.child.kill('SIGKILL');
  await launched.until(() => !processes.some(alive));
});

test('what cannot be launched is refused in words', () => {
  const one = { nproc: 2, nnodes: 1, nodeRank: 0 };
  const refused = (changes: object, problem: RegExp, words: readonly string[] = ['train']): void =>
    assert.throws(() => checkLaunch(words, { ...one, ...changes }), problem);
  checkLaunch(['train'], one);
  refused({ nnodes: 2 }, /told where to meet\n.*--master-addr and --master-port/);
  const met = { nnodes: 2, masterAddr: '10.0.0.1', masterPort: 29500 };
  refused(met, /need a secret .*\n.*--rdzv-secret/);
  checkLaunch(['train'], { ...one, ...met, rdzvSecret: 'secret.txt' });
  checkLaunch(['train'], { ...one, ...met }, { MIXBCT_RDZV_SECRET: 'of the environment' });
  refused({ nnodes: 2, nodeRank: 2 }, /--node-rank 2 with --nnodes 2: machines count from 0 to 1/);
  refused({}, /launch runs train, extract, evaluate ijb, not denoise/, ['denoise']);
});

test('a busy port ends the launch in words', needsPort, async (t) => {
  const folder = await workshop(t, 1);
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, done));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const { code, err } = mixbctProcess(folder, 'launch', '--nproc', '2', '--master-port', String(port), ...training);
  assert.equal(code, 2, err);
  assert.match(err, /port \d+ is busy on this machine.*\n.*--master-port\)\n$/);
});

test('a machine whose others do not come gives up, and says who is missing', needsPort, async (t) => {
  const folder = await workshop(t, 1);
  process.env['MIXBCT_JOIN_SECONDS'] = '2';
  t.after(() => delete process.env['MIXBCT_JOIN_SECONDS']);
  writeFileSync(join(folder, 'secret.txt'), 'known to both machines', { mode: 0o600 });
  const where = [
    '--master-addr',
    '127.0.0.1',
    '--master-port',
    String(await freePort()),
    '--rdzv-secret',
    'secret.txt',
  ];
  const { code, err } = mixbctProcess(folder, 'launch', '--nproc', '2', '--nnodes', '2', ...where, ...training);
  assert.equal(code, 2);
  assert.match(err, /2 of 4 processes did not come within 2 s: rank 2, 3/);
});
