import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { version } from '../../src/base/version.ts';
import { buildInfo } from '../../src/torch/index.ts';
import type { Section } from '../gpu-check.ts';

const said = (program: string, ...args: readonly string[]): string | null => {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : null;
};

/** What was measured on. */
export const describeMachine = (cpuOnly: boolean) => ({
  mixbct: version,
  node: process.version,
  libtorch: buildInfo().libtorch,
  cuda: buildInfo().cuda,
  gpu: cpuOnly ? null : said('nvidia-smi', '--query-gpu=name,driver_version,memory.total', '--format=csv,noheader'),
  nvcc: said('nvcc', '--version')?.split('\n').at(-1) ?? null,
  processor: cpus()[0]?.model.trim(),
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
});

export type CheckResult = {
  readonly machine: ReturnType<typeof describeMachine>;
  readonly sections: readonly Section[];
};

/** The result as a page: a line for each section, and below it a table of what it found. */
export function toMarkdown({ machine, sections }: CheckResult): string {
  const lines = [
    '# GPU check',
    '',
    ...Object.entries(machine).map(([name, value]) => `* ${name}: ${value ?? '–'}`),
    '',
    '| part | outcome | seconds | |',
    '|---|---|--:|---|',
    ...sections.map(({ name, outcome, seconds, why = '' }) => `| ${name} | ${outcome} | ${seconds} | ${cell(why)} |`),
  ];
  for (const { name, rows } of sections) {
    const tables = new Map<string, Record<string, unknown>[]>();
    for (const row of rows) {
      // a benchmark's line says what it is by its only key
      const [[key, value]] = Object.entries(row) as [[string, unknown]];
      const wrapped = Object.keys(row).length === 1 && typeof value === 'object';
      const kind = wrapped ? key : '';
      const content = flat((wrapped ? value : row) as Record<string, unknown>);
      tables.set(kind, [...(tables.get(kind) ?? []), content]);
    }
    for (const [kind, contents] of tables) {
      const columns = [...new Set(contents.flatMap((content) => Object.keys(content)))];
      lines.push('', `## ${name}${kind === '' || kind === 'row' ? '' : `: ${kind}`}`, '');
      lines.push(`| ${columns.join(' | ')} |`, `|${columns.map(() => '---').join('|')}|`);
      for (const content of contents) lines.push(`| ${columns.map((column) => cell(content[column])).join(' | ')} |`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** `{ a: { b: 1 } }` → `{ 'a b': 1 }` */
const flat = (row: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row).flatMap(([key, value]) =>
      value !== null && typeof value === 'object'
        ? Object.entries(flat(value as Record<string, unknown>)).map(([inner, x]) => [`${key} ${inner}`, x])
        : [[key, value]],
    ),
  );

const cell = (value: unknown): string =>
  typeof value === 'number'
    ? String(Number(value.toPrecision(4)))
    : String(value ?? '–')
        .replaceAll('|', '\\|')
        .replaceAll('\n', ' ');
