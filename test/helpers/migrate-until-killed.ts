// Run as a process of its own by migrate.test.ts: migrates a gallery until batch `killAt`, then dies as if the power had failed.

import { openSource } from '../../src/stages/migration-sources.ts';
import { openStore } from '../../src/stores/open-store.ts';
import { runMigration, type VectorSource } from '../../src/stores/run-migration.ts';

const [url, features, killAt] = process.argv.slice(2) as [string, string, string];
await using store = await openStore(url);
await using _ = await store.claim();
const { stamp } = await store.state();
using source = await openSource({ features }, { url, stamp: stamp! });
let batches = 0;
const dying: VectorSource = {
  ...source,
  vectors: (rows) => {
    if (++batches > Number(killAt)) process.kill(process.pid, 'SIGKILL');
    return source.vectors(rows);
  },
};
await runMigration(store, dying, { batchSize: 10 });
