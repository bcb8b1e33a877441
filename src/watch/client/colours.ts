/** Colours that colour-blind people tell apart (after Okabe and Ito), on white and on black. */
const COLOURS = {
  light: ['#0b5fae', '#c04a00', '#00795c', '#8a3fa0', '#7a5c00', '#0086b3', '#b3266b', '#4d4d4d'],
  dark: ['#6db3f2', '#ff9e5e', '#4dc9a4', '#d59be6', '#e0c050', '#6fd3f5', '#ff8fbd', '#bdbdbd'],
};
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3]];

export const dark = matchMedia('(prefers-color-scheme: dark)');
export const colourOf = (nth: number): string =>
  (dark.matches ? COLOURS.dark : COLOURS.light)[nth % COLOURS.light.length]!;
export const dashOf = (nth: number): number[] => DASHES[Math.floor(nth / COLOURS.light.length) % DASHES.length]!;
