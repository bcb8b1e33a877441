import { COLOURS, type LineStyle, OLD, ORACLE } from './curve-lines.ts';

/** The colours of the page that stand for those of a figure: they change between light and dark. */
const colours: Readonly<Record<string, string>> = {
  [OLD]: 'var(--old)',
  [ORACLE]: 'var(--oracle)',
  ...Object.fromEntries(COLOURS.map((colour, i) => [colour, `var(--c${i})`])),
};

export const themed = (look: LineStyle): LineStyle => ({ ...look, colour: colours[look.colour] ?? look.colour });

/** The colour of the `nth` thing of several. */
export const seriesColour = (nth: number): string => `var(--c${nth % COLOURS.length})`;
