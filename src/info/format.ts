import { relative } from 'node:path';
import { formatBytes } from '../artifacts/durable-write.ts';
import { formatCount } from '../base/progress.ts';
import type { Description } from './description.ts';
import type { Link } from './follow.ts';

/** What people call the kinds that a chain is made of. */
const names: Readonly<Record<string, string>> = {
  features: 'feature set',
  credible: 'credible mask',
  dataset: 'data set',
  'pack-accuracy': 'pack accuracies',
};

/** A description and the chain of its sources as text. */
export function formatDescription(
  { path, name, facts, madeBy, bytes, files }: Description,
  links: readonly Link[],
): string {
  const rows = Object.entries({
    ...facts,
    size: `${formatBytes(bytes)} in ${formatCount(files, 'file')}`,
    ...(madeBy && { 'made by': `${madeBy.command}, version ${madeBy.mixbct}` }),
  });
  const width = Math.max(...rows.map(([label]) => label.length));
  return [
    `${path}: ${name}`,
    ...rows.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`),
    ...(links.length > 0 ? ['made from', ...links.flatMap((link) => linesOf(link, '  '))] : []),
  ].join('\n');
}

/** From the current folder, for what lies in it. */
function shortPath(path: string): string {
  const from = relative('', path);
  return from === '' || from.startsWith('..') ? path : from;
}

function linesOf({ kind, name, path, digest, note, problem, sources, isRepeated }: Link, indent: string): string[] {
  const place = path === null ? name : shortPath(path);
  const what = [names[kind] ?? kind, place].filter((part) => part !== null).join(' ');
  const facts = [digest && `digest ${digest}`, note].filter((fact) => fact);
  const told = facts.length > 0 ? ` (${facts.join('; ')})` : '';
  const rest = isRepeated ? ', see above' : problem === null ? '' : `: ${problem}`;
  return [`${indent}${what}${told}${rest}`, ...sources.flatMap((source) => linesOf(source, `${indent}  `))];
}
