import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { MANIFEST } from '../base/artifact.ts';
import { FileError, UserError } from '../base/errors.ts';
import type { Evaluation } from '../eval/index.ts';
import { textTable } from '../report/terminal.ts';
import { command, print } from './context.ts';

/** A setting or result that two runs do not share; a side that lacks it has null. */
export type Contrast = { readonly what: string; readonly a: unknown; readonly b: unknown };

export function compareCommand(): Command {
  return command(
    'compare',
    'show how two runs, or two evaluations, differ: recipe, data, code, results',
    'mixbct compare runs/mixbct runs/bct\nmixbct compare runs/quickstart-1/judge runs/quickstart-2/judge',
  )
    .argument('<a>', 'folder of a finished run, or of an evaluation')
    .argument('<b>', 'another of the same kind')
    .action(async (a: string, b: string, options) => {
      const [first, second] = [await facts(a), await facts(b)];
      if (first['kind'] !== second['kind'])
        throw new UserError(`${a} is of kind ${first['kind']}, ${b} of kind ${second['kind']}`, {
          hint: 'compare two of one kind',
        });
      const contrasts = contrast(first, second);
      print(
        options,
        contrasts,
        contrasts.length === 0
          ? `${a} and ${b} do not differ`
          : textTable(
              ['', a, b],
              contrasts.map(({ what, a, b }) => [what, shown(a), shown(b)]),
            ),
      );
    });
}

const shown = (value: unknown): string =>
  value === null ? '–' : typeof value === 'number' && !Number.isInteger(value) ? value.toPrecision(5) : String(value);

/** Every fact on a run or an evaluation that is worth comparing, by path. */
async function facts(path: string): Promise<Record<string, unknown>> {
  const { EVALUATION_FILE, readEvaluation } = await import('../eval/evaluation-file.ts');
  if (existsSync(join(path, EVALUATION_FILE))) return factsOfEvaluation(readEvaluation(path));
  if (!existsSync(join(path, MANIFEST)))
    throw new FileError(path, 'is neither a finished run nor an evaluation', 'train one: mixbct train');
  const [{ readRunManifest, runFiles }, { lastReport }] = await Promise.all([
    import('../train/run.ts'),
    import('../train/journal.ts'),
  ]);
  const { recipe, dataset, imported, differences, counts, kind, ...rest } = readRunManifest(path);
  const result = lastReport(runFiles(path).log);
  return {
    kind: `${kind}`,
    // of an imported model no more is known than its network: the rest of its recipe are defaults that trained nothing
    ...(imported ? flatten('recipe.network', recipe.network) : flatten('recipe', recipe)),
    ...(dataset && flatten('data', dataset)),
    ...(imported && flatten('imported', imported)),
    ...flatten('code', { mixbct: rest.mixbct, libtorch: rest.libtorch, preset: rest.preset, old: rest.old }),
    'code.differences from the reference': differences.join('; ') || null,
    ...flatten('result', { model: rest.model, steps: rest.steps, seconds: rest.seconds, ...counts }),
    ...flatten('result', result ? { loss: result.loss, ...result.terms } : {}),
  };
}

function factsOfEvaluation({ title, dataset, protocol, candidates }: Evaluation): Record<string, unknown> {
  const results = candidates.flatMap(({ name, comparisons }) =>
    comparisons.map((comparison) => flatten(`result.${name}.${comparison.metric}`, comparison)),
  );
  return Object.assign(
    { kind: 'evaluation', title },
    flatten('data', dataset),
    flatten('protocol', protocol),
    ...results,
  );
}

/** Leaves by path: `{ a: { b: 1 } }` → `{ 'a.b': 1 }`; lists as text. */
function flatten(prefix: string, value: unknown): Record<string, unknown> {
  if (Array.isArray(value)) return { [prefix]: JSON.stringify(value) };
  if (value === null || typeof value !== 'object') return { [prefix]: value };
  return Object.assign({}, ...Object.entries(value).map(([key, child]) => flatten(`${prefix}.${key}`, child)));
}

/** The paths at which two records differ, in the order of the first. */
export function contrast(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): Contrast[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((what) => a[what] !== b[what])
    .map((what) => ({ what, a: a[what] ?? null, b: b[what] ?? null }));
}
