/** A string literal, or one text between the `${…}` of a template, and the code just before the literal. */
export type Literal = { readonly text: string; readonly before: string; readonly line: number };

/** What stands for `${…}`. */
const HOLE = '$' + '{}';
/** How much of the code before a literal is kept. */
const BEFORE = 120;

/**
 * The string and template literals of TypeScript source, without comments and regular expressions. `${…}` leaves `${}` in the
 * text; literals inside it are listed too.
 */
export function literalsOf(source: string): Literal[] {
  const found: Literal[] = [];
  let at = 0;
  let code = ''; // the last of the code so far, comments and contents of literals left out
  const add = (text: string): void => {
    code = (code + text).slice(-BEFORE);
  };
  let [counted, line] = [0, 1];
  const lineAt = (index: number): number => {
    for (; counted < index; counted++) if (source[counted] === '\n') line++;
    return line;
  };

  const quoted = (quote: string): void => {
    const line = lineAt(at++);
    let text = '';
    while (at < source.length && source[at] !== quote) {
      if (source[at] === '\\') text += source[at + 1] === 'n' ? '\n' : (source[at + 1] ?? '');
      else text += source[at];
      at += source[at] === '\\' ? 2 : 1;
    }
    at++;
    found.push({ text, before: code, line });
    add(quote + quote);
  };
  const template = (): void => {
    const line = lineAt(at++);
    const before = code;
    let text = '';
    while (at < source.length && source[at] !== '`')
      if (source[at] === '\\') {
        text += source[at + 1] === 'n' ? '\n' : (source[at + 1] ?? '');
        at += 2;
      } else if (source.startsWith('${', at)) {
        text += HOLE;
        at += 2;
        run(1);
      } else text += source[at++];
    at++;
    found.push({ text, before, line });
    add('``');
  };
  /** Reads code to its end, or to the brace that closes the outermost of `depth` open ones. */
  function run(depth: number): void {
    while (at < source.length) {
      const char = source[at]!;
      if (source.startsWith('//', at)) at = end(source.indexOf('\n', at));
      else if (source.startsWith('/*', at)) at = end(source.indexOf('*/', at)) + 2;
      else if (char === "'" || char === '"') quoted(char);
      else if (char === '`') template();
      else if (char === '/' && /(^|[=(,:[!&|?{};+]|return|=>)\s*$/.test(code)) regular();
      else {
        add(char);
        at++;
        if (char === '{') depth++;
        if (char === '}' && --depth === 0) return;
      }
    }
  }
  const end = (index: number): number => (index < 0 ? source.length : index);
  const regular = (): void => {
    let inClass = false;
    for (at++; at < source.length && source[at] !== '\n'; at++) {
      if (source[at] === '\\') at++;
      else if (source[at] === '[') inClass = true;
      else if (source[at] === ']') inClass = false;
      else if (source[at] === '/' && !inClass) break;
    }
    at++;
    add(' 0 ');
  };
  run(Infinity);
  return found;
}
