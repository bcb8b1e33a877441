/** Data sets of icons that can be fetched: e10 in colour, i40 in black and white. */
export const iconSetNames = ['e10', 'i40'] as const;
export type IconSetName = (typeof iconSetNames)[number];
