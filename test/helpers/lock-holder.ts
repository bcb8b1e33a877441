// Run as a process of its own by tests: takes the locks of outputs, says so, and holds them until it is killed or its input ends.
import { lockOutputs } from '../../src/artifacts/output-lock.ts';

try {
  const locks = lockOutputs(process.argv.slice(2));
  process.stdout.write('held\n');
  process.stdin.resume().on('end', () => {
    locks[Symbol.dispose]();
    process.exit(0);
  });
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
  process.exitCode = 2;
}
