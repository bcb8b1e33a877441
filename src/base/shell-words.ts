/** The last word of a command line whose end is being typed. */
export type UnfinishedWord = {
  /** Without quotes and backslashes; empty behind a blank. */
  readonly text: string;
  /** How many characters of `text` stand before the part that the shell replaces. */
  readonly kept: number;
  /** The quote that is open, if one is. */
  readonly quote: '' | "'" | '"';
};

/**
 * Splits a command line as shells do: blanks separate words, quotes and backslashes keep what follows them.
 * @param breaks characters at which the shell starts a new part of the last word, unless they are quoted
 */
export function splitShellWords(
  line: string,
  breaks = '',
): { readonly words: readonly string[]; readonly last: UnfinishedWord } {
  const words: string[] = [];
  let [text, kept, begun]: [string, number, boolean] = ['', 0, false];
  let quote: UnfinishedWord['quote'] = '';
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (quote === '' && /\s/.test(char)) {
      if (begun) words.push(text);
      [text, kept, begun] = ['', 0, false];
      continue;
    }
    begun = true;
    if (char === quote) {
      quote = '';
      if (breaks.includes(char)) kept = text.length;
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char;
      kept = text.length;
    } else if (char === '\\' && isEscape(quote, line[i + 1])) text += line[++i];
    else {
      text += char;
      if (quote === '' && breaks.includes(char)) kept = text.length;
    }
  }
  return { words, last: { text, kept, quote } };
}

/** Whether a backslash before `next` is not itself a character of the word. */
const isEscape = (quote: string, next: string | undefined): boolean =>
  next !== undefined && quote !== "'" && (quote === '' || '"\\$`'.includes(next));

/** What a shell must read to get `text`, behind an open quote or none; null if no such quote can hold it. */
export function quoteForShell(text: string, quote: UnfinishedWord['quote']): string | null {
  if (quote === "'") return text.includes("'") ? null : text;
  return quote === '"' ? text.replace(/["\\$`]/g, '\\$&') : text.replace(/[^\p{L}\p{M}\p{N}_./,:=@%+~-]/gu, '\\$&');
}
