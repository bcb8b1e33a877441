import { FileError } from '../base/errors.ts';

/** A place in object storage: a bucket, and a key or the beginning of keys. */
export type ObjectPlace = { readonly bucket: string; readonly key: string };

const SCHEME = 's3://';

/** Whether a path names object storage. */
export const isObjectUrl = (path: string): boolean => path.startsWith(SCHEME);

/** The bucket and key of `s3://bucket/key`; the key may be empty. @throws FileError if it is no such address */
export function objectPlace(url: string): ObjectPlace {
  const [, bucket, key] = /^s3:\/\/([A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:\/(.*))?$/s.exec(url) ?? [];
  if (bucket !== undefined && Buffer.byteLength(key ?? '') <= 1024 && !/\0/.test(key ?? ''))
    return { bucket, key: key ?? '' };
  throw new FileError(url.slice(0, 200), 'is no address of an object', 'wanted s3://BUCKET/KEY');
}

/** The address of an object. */
export const objectUrl = ({ bucket, key }: ObjectPlace): string => `${SCHEME}${bucket}/${key}`;

/** @throws FileError unless a command can write `url`: its key has names between single slashes, as a file has. */
export function requireObjectName(url: string): void {
  const { key } = objectPlace(url);
  if (key.split('/').some((name) => name === '' || name === '.' || name === '..'))
    throw new FileError(url, 'is no name of an output', 'wanted s3://BUCKET/FOLDER/NAME');
}
