import { z } from 'zod';
import { readJson } from '../../artifacts/json-file.ts';
import { FileError } from '../../base/errors.ts';

/** One set of icons: drawings by name, and other names of the same things. */
export type IconSet = {
  readonly name: string;
  /** Sets of one designer share a family. */
  readonly family: string;
  readonly names: readonly string[];
  /** Pairs of names of one thing. */
  readonly synonyms: readonly (readonly [string, string])[];
  /** An SVG document of `side` pixels that fits the drawing in, undefined if there is none of that name. */
  svg(name: string, side: number): string | undefined;
};

const size = z.number().positive();
const schema = z.object({
  icons: z.record(
    z.string(),
    z.object({
      body: z.string(),
      left: z.number().optional(),
      top: z.number().optional(),
      width: size.optional(),
      height: size.optional(),
    }),
  ),
  /** An alias may also turn or mirror its parent: then it is another picture. */
  aliases: z.record(z.string(), z.looseObject({ parent: z.string() })).optional(),
  width: size.optional(),
  height: size.optional(),
});

/** Side of a drawing whose set does not say it: the format's default. */
const DEFAULT_SIDE = 16;

/** Opens a set in Iconify's JSON format. @throws FileError if the file is none */
export function openIconSet(name: string, family: string, path: string): IconSet {
  const result = schema.safeParse(readJson(path));
  if (!result.success)
    throw new FileError(
      path,
      `is not a set of icons: ${z.prettifyError(result.error)}`,
      'delete the folder it lies in and fetch the data set again',
    );
  const { icons, aliases = {}, width = DEFAULT_SIDE, height = DEFAULT_SIDE } = result.data;
  return {
    name,
    family,
    names: Object.keys(icons),
    synonyms: Object.entries(aliases).flatMap(([alias, { parent, ...changes }]) =>
      Object.keys(changes).length === 0 ? [[alias, parent] as const] : [],
    ),
    svg(icon, side) {
      const found = icons[icon];
      if (!found) return undefined;
      const box = [found.left ?? 0, found.top ?? 0, found.width ?? width, found.height ?? height].join(' ');
      const links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"';
      return `<svg ${links} width="${side}" height="${side}" viewBox="${box}">${found.body}</svg>`;
    },
  };
}
