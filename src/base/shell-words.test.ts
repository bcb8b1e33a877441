import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { quoteForShell, splitShellWords } from './shell-words.ts';

/** Bash's, for the words that it inserts behind. */
const BREAKS = ' \t\n"\'><=;|&(:';

test('a line is split as a shell does it, and its last word is known with its quote and what of it is replaced', () => {
  const last = (line: string) => splitShellWords(line, BREAKS).last;
  assert.deepEqual(splitShellWords(`a 'b c'  "d\\"e"f g\\ h `).words, ['a', 'b c', 'd"ef', 'g h']);
  assert.deepEqual(splitShellWords(`'' x`).words, ['']);
  assert.deepEqual(last('a '), { text: '', kept: 0, quote: '' });
  assert.deepEqual(last('a b\\ c:d'), { text: 'b c:d', kept: 4, quote: '' });
  assert.deepEqual(last('a b\\:c'), { text: 'b:c', kept: 0, quote: '' });
  assert.deepEqual(last('a x="b:c'), { text: 'x=b:c', kept: 2, quote: '"' });
  assert.deepEqual(last(`a 'b\\`), { text: 'b\\', kept: 0, quote: "'" });
  assert.deepEqual(last('a "b"c'), { text: 'bc', kept: 1, quote: '' });
});

test('what is quoted for a shell is read by one as it was', () => {
  const names = ['plain', 'with blank', `it's "so"`, 'pay$1`x`\\', 'größe', '*?[a]{b,c}', '!x#y~', 'a:b=c', 'a;b|c&d'];
  const lines = names.flatMap((name) => {
    const inSingle = quoteForShell(name, "'");
    return [quoteForShell(name, '')!, `"${quoteForShell(name, '"')}"`, ...(inSingle === null ? [] : [`'${inSingle}'`])];
  });
  const { stdout } = spawnSync('sh', ['-c', `printf '%s\\n' ${lines.join(' ')}`], { encoding: 'utf8' });
  const single = names.filter((name) => !name.includes("'")).length;
  assert.equal(lines.length, 2 * names.length + single);
  assert.deepEqual(
    stdout.trimEnd().split('\n'),
    names.flatMap((name) => [name, name, ...(name.includes("'") ? [] : [name])]),
  );
});
