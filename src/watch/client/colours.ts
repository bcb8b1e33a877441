/** A colour of the page's style, which changes between light and dark. */
export const css = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Colours of series, `--c0` and on; further series get them again with other dashes. */
const SERIES = Array.from({ length: 20 }, (_, i) => `--c${i}`).filter((name) => css(name) !== '');
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];

export const dark = matchMedia('(prefers-color-scheme: dark)');
export const colourOf = (nth: number): string => css(SERIES[nth % SERIES.length]!);
export const dashOf = (nth: number): number[] => DASHES[Math.floor(nth / SERIES.length) % DASHES.length]!;
