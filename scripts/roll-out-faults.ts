// node dist/scripts/roll-out-faults.js --old FEATURES --new FEATURES [--store sqlite,…] [--rows 50000] [--kills 10] [--seed 1]
// [--model RUN --folder IMAGES]: a gallery of an old model's embeddings is migrated to a new model in each store while another
// process inserts, changes, deletes and searches. The migration is killed (SIGKILL) at random moments, its cut-over and its rollback,
// too, and so is the store's server where there is one. At the end every row must be new, none lost, none there twice; no search may
// have compared vectors of two models; and the rollback must give back the bytes. Exit code 1 if not.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { formatDuration } from '../src/base/progress.ts';
import { Rng } from '../src/base/rng.ts';
import { migrationStatus, verifyGallery } from '../src/stages/migrate.ts';
import { openStore } from '../src/stores/open-store.ts';
import { withoutPassword } from '../src/stores/store-url.ts';
import { vectorBytes } from '../src/stores/vectors.ts';
import type { ApplicationReport } from './roll-out/application.ts';
import { stores } from './roll-out/applications.ts';
import { GalleryRows } from './roll-out/gallery-rows.ts';

const { values } = parseArgs({
  options: {
    old: { type: 'string' },
    new: { type: 'string' },
    store: { type: 'string', default: Object.keys(stores).join(',') },
    rows: { type: 'string', default: '50000' },
    kills: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    model: { type: 'string' },
    folder: { type: 'string' },
  },
});
const [old, newer] = [resolve(values.old!), resolve(values.new!)];
const [rows, kills, seed] = [values.rows, values.kills, values.seed].map(Number) as [number, number, number];
const all = new GalleryRows(old, newer, { rows, seed });
const main = resolve(import.meta.dirname, '../src/cli/main.js');
const source = values.model
  ? [
      '--model',
      resolve(values.model),
      '--images',
      'path',
      ...(values.folder ? ['--folder', resolve(values.folder)] : []),
    ]
  : ['--features', newer];
/** Seconds that the migration would take without kills: about three for each of them. */
const SECONDS_PER_KILL = 3;
const SAMPLE = 500;

/** A command of mixbct in a process of its own. */
function mixbct(words: readonly string[]) {
  const child = spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, said }));
  return { ended, kill: () => void child.kill('SIGKILL') };
}

/** Gives a command until it has ended by itself; the first `times` attempts are killed after a delay. → kills that met it alive */
async function killed(words: readonly string[], times: number, delayMs: () => Promise<number>): Promise<number> {
  let met = 0;
  for (let attempt = 0; ; attempt++) {
    const command = mixbct(words);
    if (attempt < times) {
      await Promise.race([command.ended, delayMs().then((ms) => setTimeout(ms))]);
      command.kill();
    }
    const { code, signal, said } = await command.ended;
    if (signal === 'SIGKILL') met++;
    else if (code === 0) return met;
    else if (attempt >= times) throw new Error(withoutPassword(`mixbct ${words.join(' ')}: ${said}`));
  }
}

/** Ports of servers, one for each store. */
const FIRST_PORT = 47_310;

/** The server of a store, in a process of its own that can be killed and started again on its data. */
class ServerProcess {
  readonly port: number;
  readonly #words: readonly string[];
  #child: ChildProcess | undefined;

  constructor(words: (folder: string, port: number) => readonly string[], folder: string, port: number) {
    this.port = port;
    this.#words = words(folder, port);
  }

  async start(): Promise<void> {
    const [script, ...args] = this.#words as [string, ...string[]];
    const child = spawn(process.execPath, [resolve(import.meta.dirname, script), ...args], { stdio: ['ignore', 'pipe', 'inherit'] }); // biome-ignore format: short
    this.#child = child;
    await Promise.race([once(child.stdout!, 'data'), once(child, 'exit').then(() => Promise.reject(new Error(`${script} ended`)))]); // biome-ignore format: short
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
}

async function rollOut(name: string): Promise<Record<string, unknown>> {
  const folder = mkdtempSync(join(tmpdir(), 'mixbct-roll-out-'));
  const begun = performance.now();
  const rng = new Rng(seed).split(name);
  const kind = stores[name]!;
  const server = kind.server && new ServerProcess(kind.server, folder, FIRST_PORT + Object.keys(stores).indexOf(name));
  try {
    await server?.start();
    const url = await kind.create(folder, all.dims.old, server?.port ?? 0);
    {
      await using application = await kind.connect(url);
      for (let from = 0; from < all.gallery.length; from += 1000)
        await application.insert(all.gallery.slice(from, from + 1000).map((key) => ({ key, vector: all.old(key), path: key }))); // biome-ignore format: short
      await using store = await openStore(url);
      const model = { name: 'old', digest: all.digests.old };
      await store.stamp({ model, dim: all.dims.old, normalised: false, preprocessing: null, flip: null, adapter: null }); // biome-ignore format: short
    }
    const app = fork(resolve(import.meta.dirname, 'roll-out/application.js'), [name, url, old, newer, String(rows), String(seed)]); // biome-ignore format: short
    const answer = async (message: string): Promise<unknown> => {
      app.send(message);
      const [reply] = await Promise.race([once(app, 'message'), once(app, 'exit').then(() => Promise.reject(new Error('the application died')))]); // biome-ignore format: short
      return reply;
    };
    const rate = String(all.gallery.length / (SECONDS_PER_KILL * Math.max(1, kills)));
    const batches = async (): Promise<number> => {
      try {
        await using store = await openStore(url);
        return (await store.journal()).length;
      } catch {
        return 0; // the server is away
      }
    };
    /** Half of the kills may meet the start of a process; the others come after it has committed something. */
    const anyMoment = async (): Promise<number> => {
      if (rng.integer(2) === 0) return 4000 * rng.uniform();
      const before = await batches();
      for (let looks = 0; looks < 300 && (await batches()) <= before; looks++) await setTimeout(100);
      return 2000 * rng.uniform();
    };
    const run = ['migrate', 'run', url, ...source, '--threads', '1'];
    const migrationKills = await killed([...run, '--rate', rate], kills, anyMoment);
    let serverKills = 0;
    for (; server && serverKills < Math.ceil(kills / 3); serverKills++) {
      const command = mixbct([...run, '--rate', rate]);
      await Promise.race([command.ended, anyMoment().then((ms) => setTimeout(ms))]);
      await server.kill();
      await command.ended;
      await server.start();
    }
    await answer('writes off');
    await killed(run, 0, anyMoment); // what was written last
    const check = await verifyGallery(url, { sample: SAMPLE, seed });
    const step = async (words: 'cut-over' | 'rollback'): Promise<number> => {
      const times = Math.ceil(kills / 3);
      try {
        return await killed(['migrate', words, url], times, async () => 3000 * rng.uniform());
      } catch (error) {
        // a command that was killed after it had done its work finds nothing to do
        const { migration } = await migrationStatus(url);
        if (words === 'cut-over' ? migration?.phase === 'cut-over' : migration === null) return times;
        throw error;
      }
    };
    const cutOverKills = await step('cut-over');
    const after = await verifyGallery(url, { sample: SAMPLE, seed });
    await setTimeout(2000); // searches of the new vectors
    const rollbackKills = await step('rollback');
    await setTimeout(2000);
    const report = (await answer('stop')) as ApplicationReport;
    await using application = await kind.connect(url);
    const content = await application.content();
    const { expected, messages, ...counts } = report;
    const found = new Map(content);
    const lost = expected.filter(([key]) => !found.has(key)).length;
    const other = expected.filter(([key, factor]) => {
      const bytes = found.get(key);
      return bytes && Buffer.compare(bytes, vectorBytes(all.old(key).map((x) => x * factor))) !== 0;
    }).length;
    const result = {
      ...{ store: name, rows: content.length, kills: { migration: migrationKills, server: serverKills, cutOver: cutOverKills, rollback: rollbackKills } }, // biome-ignore format: short
      ...{ verified: check, verifiedAfterCutOver: after.ok, application: counts, messages },
      ...{
        lost,
        twice: content.length - found.size,
        unexpected: found.size - expected.length + lost,
        bytesOtherwise: other,
      },
      took: formatDuration(performance.now() - begun),
    };
    const ok = check.ok && after.ok && [lost, result.twice, result.unexpected, other, counts.mixed, counts.twice].every((n) => n === 0); // biome-ignore format: short
    return { ...result, ok };
  } finally {
    await server?.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

for (const name of values.store.split(',')) {
  const result = await rollOut(name);
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  if (!result['ok']) process.exitCode = 1;
}
