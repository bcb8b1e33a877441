import { byCodeUnit } from '../class-folders.ts';
import type { IconSet } from './icon-set.ts';
import { type Thing, thingsOf } from './things.ts';

/** Words of a style, not of a thing, where a name begins or ends with them. */
const STYLES = new Set(
  (
    'baseline bold border broken default duotone fill filled icon light line linear o outline outlined outlines ' +
    'regular round rounded sharp solid stroke thin twotone'
  ).split(' '),
);
const SIZE = /^\d+(px)?$/;

/** Words that designers use for one thing. */
const SYNONYMS = [
  ['plus', 'add'],
  ['minus', 'remove', 'subtract'],
  ['close', 'x', 'xmark', 'times', 'cross', 'cancel'],
  ['check', 'checkmark', 'tick'],
  ['trash', 'delete', 'bin', 'garbage'],
  ['settings', 'setting', 'gear', 'cog'],
  ['search', 'magnify', 'magnifier'],
  ['user', 'person', 'account'],
  ['mail', 'email', 'envelope'],
  ['home', 'house'],
  ['pencil', 'edit', 'pen'],
  ['lock', 'padlock', 'locked'],
  ['unlock', 'unlocked'],
  ['image', 'picture', 'photo'],
  ['phone', 'telephone', 'call'],
  ['question', 'help'],
  ['warning', 'alert'],
  ['clock', 'time'],
] as const;
const kept = new Map<string, string>(SYNONYMS.flatMap(([first, ...others]) => others.map((word) => [word, first])));

/**
 * The things that at least `drawings` sets draw, by name: `home-outline`, `outline-home` and `house-24` are one. Neither the order
 * of words counts nor which of some synonyms is taken. If a set has several drawings of a thing, the shortest name counts, of equally
 * long ones the first.
 */
export const pictogramsOf = (sets: readonly IconSet[], drawings: number): Thing[] =>
  thingsOf(sets, {
    drawings,
    keyOf: (name) => {
      const words = withoutStyle(name).map((word) => kept.get(word) ?? word);
      return words.sort(byCodeUnit).join('-');
    },
    order: (a, b) => a.length - b.length || byCodeUnit(a, b),
    nameOf: (name) => withoutStyle(name).join('-'),
  });

function withoutStyle(name: string): string[] {
  const words = name.split('-');
  while (words.length > 1 && (STYLES.has(words.at(-1)!) || SIZE.test(words.at(-1)!))) words.pop();
  while (words.length > 1 && STYLES.has(words[0]!)) words.shift();
  return words;
}
