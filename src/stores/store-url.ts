import { UserError } from '../base/errors.ts';
import { nearestName } from '../base/suggestion.ts';

export const storeKinds = ['lancedb', 'postgres', 'sqlite', 'files'] as const;
export type StoreKind = (typeof storeKinds)[number];

/** What a URL says of a gallery. */
export type StoreUrl = {
  readonly kind: StoreKind;
  /** Path of a file or folder; of a server the URL without table, with its password. */
  readonly location: string;
  readonly table: string | undefined;
  /** Names of the columns, if the URL has them. */
  readonly vector: string | undefined;
  readonly id: string | undefined;
  /** The URL without password: what messages and files may name. */
  readonly text: string;
};

const EXAMPLES =
  'lancedb:./gallery#faces, postgres://user@host/db#faces?vector=embedding&id=id, sqlite:./gallery.db#faces, files:./gallery.npy, files:./gallery.parquet?id=id';
const OPTIONS = ['vector', 'id'] as const;

/** Without the passwords that a URL may hold, in either place. */
export const withoutPassword = (text: string): string =>
  text.replace(/(:\/\/[^/@:\s]*):\S*@/g, '$1:***@').replace(/([?&]password=)[^&#]*/gi, '$1***');

/** @throws UserError if a text is no URL of a store. */
export function parseStoreUrl(url: string): StoreUrl {
  const text = withoutPassword(url);
  const [, scheme, rest] = /^([a-z]+):(.*)$/s.exec(url) ?? [];
  const kind = scheme === 'postgresql' ? 'postgres' : storeKinds.find((one) => one === scheme);
  if (kind === undefined || rest === undefined || rest.includes('\0')) {
    const near = scheme === undefined ? undefined : nearestName(scheme, storeKinds);
    throw new UserError(`${text.slice(0, 100)}: is no URL of a store, wanted ${storeKinds.join(':, ')}:`, {
      hint: near === undefined ? `such as ${EXAMPLES}` : `did you mean ${near}: ?`,
    });
  }
  const mark = rest.indexOf('#');
  const [place, fragment] = mark < 0 ? [rest, ''] : [rest.slice(0, mark), rest.slice(mark + 1)];
  // a path has no query of its own
  const [path, placeQuery = ''] = kind === 'files' ? splitAt(place) : [place];
  const [table, query = ''] = splitAt(fragment);
  const options = optionsOf(text, query || placeQuery);
  if (path === '' || path === '//')
    throw new UserError(`${text}: names no ${kind === 'postgres' ? 'server' : 'file or folder'}`, { hint: `such as ${EXAMPLES}` }); // biome-ignore format: short
  return { kind, location: kind === 'postgres' ? `postgres:${path}` : path, table: table || undefined, ...options, text }; // biome-ignore format: short
}

function splitAt(text: string): [string, string?] {
  const at = text.indexOf('?');
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function optionsOf(text: string, query: string): Pick<StoreUrl, 'vector' | 'id'> {
  const given = new URLSearchParams(query);
  for (const name of given.keys())
    if (!OPTIONS.some((one) => one === name))
      throw new UserError(`${text}: ${JSON.stringify(name)} is not known there, wanted ${OPTIONS.join(' and ')}`, { hint: '?vector=embedding&id=id names the columns' }); // biome-ignore format: short
  return { vector: given.get('vector') ?? undefined, id: given.get('id') ?? undefined };
}

/** What vector columns are called if the URL does not say. */
const USUAL_VECTORS = ['vector', 'embedding'];

/**
 * The columns with ids and vectors: those that the URL names, else `id` and `vector` or `embedding`.
 * @throws UserError if the table has no such column, or has both.
 */
export function galleryColumns(
  { kind, id = 'id', vector, text }: StoreUrl,
  columns: readonly string[],
): { id: string; vector: string } {
  const has = (name: string): boolean => columns.includes(name);
  const usual = USUAL_VECTORS.filter(has);
  const found = vector ?? (usual.length === 1 ? usual[0] : undefined);
  const missing =
    found === undefined || !has(found) ? (vector ?? USUAL_VECTORS.join(' or ')) : has(id) ? undefined : id;
  if (found !== undefined && missing === undefined) return { id, vector: found };
  const problem = usual.length > 1 && vector === undefined ? `has the columns ${usual.join(' and ')}, and the URL does not say which has the vectors` : `has no column ${missing}`; // biome-ignore format: short
  throw new UserError(
    `${text}: the ${kind === 'files' ? 'file' : 'table'} ${problem}; its columns: ${columns.slice(0, 20).join(', ')}`,
    {
      hint: `name them in the URL: ${kind === 'files' ? 'gallery.parquet' : '#faces'}?vector=embedding&id=id`,
    },
  );
}
