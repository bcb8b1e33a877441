// One process of a test: meets the others, runs a task of test/distributed, and prints what it returns.
import { joinProcessGroup, rankInfoOf, setThreads } from '../../src/torch/index.ts';

const [task, input] = process.argv.slice(2) as [string, string];
setThreads(1);
const { run } = await import(`../distributed/${task}.js`);
const distributed = joinProcessGroup(rankInfoOf(process.env)!, {
  joinTimeoutMs: Number(process.env['MIXBCT_TEST_JOIN_MS'] ?? 20_000),
  timeoutMs: 30_000,
});
const result = await run(distributed, JSON.parse(input));
distributed.leave();
process.stdout.write(JSON.stringify(result ?? null));
