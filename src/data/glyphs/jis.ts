const FIRST_CELL = 1;
const LAST_CELL = 94;

/** The kanji of JIS X 0208 in rows `first` … `last`, in the standard's order: no list to ship, EUC-JP is the standard plus 0xA0. */
function kanji(first: number, last: number): number[] {
  const decoder = new TextDecoder('euc-jp', { fatal: false });
  const found: number[] = [];
  for (let row = first; row <= last; row++)
    for (let cell = FIRST_CELL; cell <= LAST_CELL; cell++) {
      const code = decoder.decode(Uint8Array.of(0xa0 + row, 0xa0 + cell)).codePointAt(0)!;
      if (code !== 0xfffd) found.push(code);
    }
  return found;
}

/** The 2,965 common characters. */
export const jisLevel1 = (): number[] => kanji(16, 47);
/** The 3,390 rarer ones. */
export const jisLevel2 = (): number[] => kanji(48, 84);
