import { z } from 'zod';
import type { StageKind } from '../../src/experiment/stage.ts';

type Property = {
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly anyOf?: readonly { readonly const?: unknown }[];
};

/** The table of all kinds of stage for the documentation, in Markdown. A setting with `?` may be left out, as one with a default. */
export function stageTable(kinds: readonly StageKind[]): string {
  const rows = kinds.map((kind) => {
    const { properties, required = [] } = z.toJSONSchema(kind.schema, { io: 'input' });
    const texts = Object.entries(properties as Readonly<Record<string, Property>>).flatMap(([name, property]) =>
      name === 'do' ? [] : [{ name, text: settingText(name, property, required.includes(name)) }],
    );
    const column = (ofInputs: boolean): string =>
      texts
        .filter(({ name }) => kind.inputs.includes(name) === ofInputs)
        .map(({ text }) => text)
        .join(', ') || '–';
    return `| \`${kind.kind}\` | ${kind.summary} | ${column(true)} | ${column(false)} | ${kind.outputs.join(', ') || '–'} |`;
  });
  return ['| `do` | what it does | inputs | settings | parts |', '|---|---|---|---|---|', ...rows].join('\n');
}

function settingText(
  name: string,
  { enum: choices, default: fallback, anyOf = [] }: Property,
  required: boolean,
): string {
  const values = choices ?? (anyOf.every((one) => one.const !== undefined) ? anyOf.map((one) => one.const) : []);
  const shown = values.length > 0 ? `: ${values.join(' \\| ')}` : '';
  const isPlain = fallback !== undefined && (fallback === null || typeof fallback !== 'object');
  return `\`${name}\`${required || isPlain ? '' : '?'}${shown}${isPlain ? ` (${fallback})` : ''}`;
}
