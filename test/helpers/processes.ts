import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildInfo } from '../../src/torch/index.ts';
import { RENDEZVOUS_FILE } from '../../src/torch/variables.ts';

const worker = resolve(import.meta.dirname, 'process-worker.js');

/** A free port. */
export const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => done(port));
    });
  });

/** Only libtorch 2 serves a rendezvous on a port of this machine alone. */
const servesPort = !buildInfo().libtorch.startsWith('1.');
export const needsPort = { skip: !servesPort && 'libtorch 1 serves no rendezvous on a port' };

export type Ended = { readonly rank: number; readonly code: number | null; readonly out: string; readonly err: string };

/** Starts a task of test/distributed in real processes that have met, and waits for the end of all, however they end. */
export async function endsOf(
  processes: number,
  task: string,
  input: unknown,
  env: (rank: number) => Readonly<Record<string, string>> = () => ({}),
): Promise<Ended[]> {
  const port = String(await freePort());
  const meeting = servesPort
    ? { MASTER_ADDR: '127.0.0.1', MASTER_PORT: port }
    : { [RENDEZVOUS_FILE]: join(mkdtempSync(join(tmpdir(), 'mixbct-meet-')), 'store') };
  const place = { WORLD_SIZE: String(processes), ...meeting, OMP_NUM_THREADS: '1' };
  return Promise.all(
    Array.from({ length: processes }, (_, rank) => {
      const child = spawn(process.execPath, [worker, task, JSON.stringify(input)], {
        env: { ...process.env, ...place, RANK: String(rank), ...env(rank) },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let [out, err] = ['', ''];
      child.stdout.on('data', (text) => (out += text));
      child.stderr.on('data', (text) => (err += text));
      return new Promise<Ended>((done) => child.once('close', (code) => done({ rank, code, out, err })));
    }),
  );
}

/** What a task of test/distributed returns in each of `processes` real processes. */
export async function inProcesses<T>(processes: number, task: string, input: unknown): Promise<T[]> {
  const ends = await endsOf(processes, task, input);
  for (const { rank, code, err } of ends) if (code !== 0) throw new Error(`process ${rank} ended with ${code}: ${err}`);
  return ends.map(({ out }) => JSON.parse(out));
}
