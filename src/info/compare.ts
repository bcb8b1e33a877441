import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from '../artifacts/json-file.ts';
import { MANIFEST } from '../artifacts/manifest.ts';
import { type Difference, differencesOf, leavesOf } from '../base/differences.ts';
import { FileError, UserError } from '../base/errors.ts';
import { mappingOf } from '../base/shape.ts';
import { readTextFile } from '../base/text-file.ts';
import type { Estimate, Evaluation, OperatingPointResult, TestResult } from '../eval/index.ts';
import { metrics } from '../eval/metrics/index.ts';
import { shareOf, testName } from '../report/format.ts';

/** How two finished runs, or two evaluations, differ. @throws UserError if they are not of one kind, or something else. */
export async function compareArtifacts(a: string, b: string): Promise<Difference[]> {
  const [first, second] = [await facts(a), await facts(b)];
  if (first['kind'] !== second['kind'])
    throw new UserError(`${a} is of kind ${first['kind']}, ${b} of kind ${second['kind']}`, {
      hint: 'compare two of one kind',
    });
  return differencesOf(first, second);
}

/** What to say of a folder that is neither. */
const NEITHER = ['is neither a finished run nor an evaluation', 'train one: mixbct train'] as const;

/** Every fact on a run or an evaluation that is worth comparing, by path. */
async function facts(path: string): Promise<Record<string, unknown>> {
  const { EVALUATION_FILE, readEvaluation } = await import('../eval/evaluation-artifact.ts');
  if (existsSync(join(path, EVALUATION_FILE))) return factsOfEvaluation(readEvaluation(path));
  if (!existsSync(join(path, MANIFEST))) throw new FileError(path, ...NEITHER);
  // as it stands: checking it would load every method and network, and nothing here depends on what it holds
  const manifest = mappingOf(readJson(join(path, MANIFEST)));
  if (manifest['kind'] !== 'run') throw new FileError(path, ...NEITHER);
  const { imported, differences, mixbct, libtorch, preset, old, model, steps, seconds } = manifest;
  return {
    kind: 'run',
    // of an imported model no more is known than its network: the rest of its recipe are defaults that trained nothing
    ...(imported
      ? leavesOf('recipe.network', mappingOf(manifest['recipe'])['network'])
      : leavesOf('recipe', manifest['recipe'])),
    ...(manifest['dataset'] ? leavesOf('data', manifest['dataset']) : {}),
    ...(imported ? leavesOf('imported', imported) : {}),
    ...leavesOf('code', { mixbct, libtorch, preset, old }),
    'code.differences from the reference': (Array.isArray(differences) && differences.join('; ')) || null,
    ...leavesOf('result', { model, steps, seconds, ...mappingOf(manifest['counts']) }),
    ...leavesOf('result', lastLosses(join(path, 'log.jsonl'))),
  };
}

/** Loss and terms of the last line of a run's log; nothing if it has none. */
function lastLosses(log: string): Record<string, unknown> {
  if (!existsSync(log)) return {};
  const line = readTextFile(log).trimEnd().split('\n').at(-1);
  if (!line) return {};
  try {
    const { loss, terms } = mappingOf(JSON.parse(line));
    return { loss, ...mappingOf(terms) };
  } catch {
    throw new FileError(log, 'its last line is damaged', 'remove that line');
  }
}

function factsOfEvaluation(evaluation: Evaluation): Record<string, unknown> {
  const { title, dataset, protocol, models, operatingPoint, tests, candidates } = evaluation;
  const results = candidates.flatMap(({ name, comparisons, dropIn }) => [
    ...comparisons.map((comparison) => leavesOf(`result.${name}.${comparison.metric}`, comparison)),
    ...(dropIn ? [leavesOf(`result.${name}.drop-in test`, dropIn)] : []),
  ]);
  return Object.assign(
    { kind: 'evaluation', title },
    leavesOf('data', dataset),
    leavesOf('protocol', protocol),
    leavesOf('operating point', operatingPoint),
    ...models.map(({ name, ...model }) => leavesOf(`models.${name}`, model)),
    ...tests.map((test) => leavesOf(`result.${testName(test)}`, factsOfTest(test))),
    ...results,
  );
}

/** The metrics of a test, and its rates at its two thresholds. */
const factsOfTest = (test: TestResult) => ({
  ...Object.fromEntries(metrics.map((metric) => [metric.name, shareOf(metric, test)])),
  ...(test.operatingPoint && ratesOf(test.operatingPoint)),
});

const ratesOf = ({ atOldThreshold, keepingFar }: OperatingPointResult) => {
  const { falseAccepts, ...rates } = atOldThreshold;
  const values = (estimates: Readonly<Record<string, Estimate>>) =>
    Object.fromEntries(Object.entries(estimates).map(([name, { value }]) => [name, value]));
  return { 'at the old threshold': { ...values(rates), falseAccepts }, 'keeping the FAR': values(keepingFar) };
};
