// npm run bench -- NAME [--runs n] [--small] [--device cuda]
import { parseArgs } from 'node:util';
import { UserError } from '../src/base/errors.ts';
import { adapt } from './adapt.ts';
import { backfill } from './backfill.ts';
import type { Bench } from './bench.ts';
import { binding } from './binding.ts';
import { checkpointing } from './checkpointing.ts';
import { distributed } from './distributed.ts';
import { evaluateBench } from './evaluate.ts';
import { extract } from './extract.ts';
import { extractMemory } from './extract-memory.ts';
import { features } from './features.ts';
import { footprint } from './footprint.ts';
import { ijb } from './ijb.ts';
import { intervals } from './intervals.ts';
import { loader } from './loader.ts';
import { memory } from './memory.ts';
import { methods } from './methods.ts';
import { partialFc } from './partial-fc.ts';
import { start } from './start.ts';
import { step } from './step.ts';

/** Every benchmark there is. To add one: write its file, and add it here. */
const benches: Readonly<Record<string, Bench>> = {
  step,
  binding,
  memory,
  loader,
  methods,
  checkpointing,
  extract,
  'extract-memory': extractMemory,
  features,
  distributed,
  ijb,
  evaluate: evaluateBench,
  backfill,
  footprint,
  'partial-fc': partialFc,
  intervals,
  start,
  adapt,
};

const usage = `npm run bench -- NAME [--runs n] [--small] [--device cuda]

${Object.entries(benches)
  .map(([name, { summary }]) => `  ${name.padEnd(15)} ${summary}`)
  .join('\n')}

--small makes a benchmark of large data smaller, to try it. --device cuda measures step, extract and partial-fc on a graphics processor. The last line is a JSON object with ratio, bar and ok. Exit code 0: bar met, 1: missed, 2: could not measure.
`;

async function main(): Promise<number> {
  const { values, positionals } = readArguments();
  if (values.help) return show(usage);
  const [name] = positionals;
  const bench = name === undefined ? undefined : benches[name];
  if (!bench || positionals.length > 1)
    throw new UserError(`wanted the name of one benchmark, got ${positionals.join(' ') || 'none'}\n\n${usage}`);
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1)
    throw new UserError(`--runs ${values.runs}: wanted a whole number of at least 1`);
  const result = { name, ...(await bench.run({ runs, small: values.small, device: values.device })) };
  show(`${JSON.stringify(result)}\n`);
  return result.ok ? 0 : 1;
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        runs: { type: 'string', default: '5' },
        small: { type: 'boolean', default: false },
        device: { type: 'string', default: 'cpu' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UserError((error as Error).message);
  }
}

function show(text: string): number {
  process.stdout.write(text);
  return 0;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(error instanceof UserError ? `${error.message}\n` : `${(error as Error).stack}\n`);
  return 2;
});
