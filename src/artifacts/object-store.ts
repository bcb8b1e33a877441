import { createWriteStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type * as S3 from '@aws-sdk/client-s3';
import { FileError, messageOf, optionHint, UserError } from '../base/errors.ts';
import { optionalPackage } from '../base/optional-package.ts';
import { objectPlace, objectUrl } from './object-url.ts';

/** What object storage tells of an object. */
export type ObjectState = {
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly changedMs: number;
  readonly etag: string;
  /** What was stored with it, names in lower case. */
  readonly metadata: Readonly<Record<string, string>>;
};

export type ListedObject = Pick<ObjectState, 'size' | 'changedMs'> & { readonly url: string };

/** The key of the metadata that tells what mixbct has written. It may be replaced, nothing else is. */
const MARK = 'mixbct';
/** Bytes of a part of an upload; a file of at most one part is put at once. Storage takes 10,000 parts. */
const [PART_BYTES, MOST_PARTS] = [64 << 20, 10_000];
/** Attempts of a request, and of reading an answer whose connection breaks, with a pause between them. */
const [ATTEMPTS, PAUSE_MS] = [5, 200];
/** An attempt is given up that has no connection after the one, or in which no byte moves for the other. */
const [CONNECT_MS, IDLE_MS] = [10_000, 120_000];

type Sdk = typeof S3;
type Store = { readonly sdk: Sdk; readonly client: S3.S3Client };
let opened: Promise<Store> | undefined;

/** The client of this thread. Endpoint, region and credentials are the SDK's own: environment, shared files, the machine's role. */
function store(): Promise<Store> {
  opened ??= openStore().catch((error) => {
    opened = undefined;
    throw error;
  });
  return opened;
}

async function openStore(): Promise<Store> {
  const sdk: Sdk = await optionalPackage('@aws-sdk/client-s3', () => import('@aws-sdk/client-s3'), {
    purpose: 'an s3:// path',
    install: 'npm install @aws-sdk/client-s3',
  });
  const { env } = process;
  env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'; // it tells of what later versions need
  const endpoint = env['AWS_ENDPOINT_URL_S3'] || env['AWS_ENDPOINT_URL'];
  const region = env['AWS_REGION'] || env['AWS_DEFAULT_REGION'] || (endpoint && 'us-east-1');
  const client = new sdk.S3Client({
    maxAttempts: ATTEMPTS,
    followRegionRedirects: true,
    requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: IDLE_MS },
    ...(endpoint && { forcePathStyle: true }), // other servers have no name for each bucket
    ...(region && { region }),
  });
  return { sdk, client };
}

/** What storage tells of an object, or null if there is none. @throws FileError if it does not answer, or refuses */
export async function headObject(url: string): Promise<ObjectState | null> {
  const { bucket: Bucket, key: Key } = objectPlace(url);
  return await answered(url, async ({ sdk, client }) => {
    try {
      const found = await client.send(new sdk.HeadObjectCommand({ Bucket, Key }));
      const { ContentLength: size = 0, LastModified: changed, ETag: etag = '', Metadata: metadata = {} } = found;
      return { size, changedMs: changed?.getTime() ?? 0, etag, metadata };
    } catch (error) {
      if (nameOf(error) === 'NotFound' || nameOf(error) === 'NoSuchKey') return null;
      throw error;
    }
  });
}

/** The objects whose keys begin with that of `prefix`, a page of answers in memory at a time. @throws FileError as `headObject` */
export async function* listObjects(prefix: string): AsyncGenerator<ListedObject, void, undefined> {
  const { bucket: Bucket, key: Prefix } = objectPlace(prefix);
  let ContinuationToken: string | undefined;
  do {
    const page = await answered(prefix, ({ sdk, client }) =>
      client.send(
        new sdk.ListObjectsV2Command({ Bucket, Prefix, ...(ContinuationToken !== undefined && { ContinuationToken }) }),
      ),
    );
    for (const { Key: key, Size: size = 0, LastModified: changed } of page.Contents ?? [])
      if (key !== undefined)
        yield { url: objectUrl({ bucket: Bucket, key }), size, changedMs: changed?.getTime() ?? 0 };
    ContinuationToken = page.IsTruncated ? page.NextContinuationToken : undefined;
  } while (ContinuationToken !== undefined);
}

/** The bytes of an object. @throws FileError as `headObject`, or if there is none */
export const readObject = (url: string): Promise<Uint8Array> =>
  withBody(url, async ({ Body: body }) => await body!.transformToByteArray());

/** Writes the bytes of an object to a file. @throws FileError as `readObject` */
export async function downloadObject(url: string, file: string): Promise<void> {
  await withBody(url, async ({ Body: body }) => await pipeline(body as Readable, createWriteStream(file)));
}

/** Uses the answer to a GET, and asks again if the connection breaks meanwhile. */
async function withBody<T>(url: string, use: (found: S3.GetObjectCommandOutput) => Promise<T>): Promise<T> {
  const { bucket: Bucket, key: Key } = objectPlace(url);
  return await answered(url, async ({ sdk, client }) => {
    for (let attempt = 1; ; attempt++) {
      const found = await client.send(new sdk.GetObjectCommand({ Bucket, Key }));
      try {
        return await use(found);
      } catch (error) {
        if (attempt === ATTEMPTS || (error as NodeJS.ErrnoException).syscall === 'write') throw error;
        await sleep(PAUSE_MS * attempt);
      }
    }
  });
}

export type UploadOptions = {
  /** Replace an object that mixbct has written. Others are never replaced. */
  readonly replace?: boolean;
  /** Digest of the content, stored with it. */
  readonly digest?: string;
  readonly partBytes?: number;
  /** Called when all bytes have arrived, before the object appears or is replaced, unless another process has written it by then. */
  readonly beforeLast?: (() => Promise<void>) | undefined;
};

/** The digest that an object was uploaded with. */
export const digestOfObject = ({ metadata }: ObjectState): string | undefined => metadata[`${MARK}-digest`];

/** @throws UserError if an object may not be written: it is there and `replace` is not set, or mixbct has not written it. */
export async function requireReplaceableObject(
  url: string,
  { replace = false }: Pick<UploadOptions, 'replace'> = {},
): Promise<ObjectState | null> {
  const found = await headObject(url);
  if (!found) return null;
  const elsewhere = optionHint('choose another --out');
  if (!replace)
    throw new UserError(`${url} exists already`, { hint: [elsewhere, optionHint('pass --force to replace it')] });
  if (found.metadata[MARK] === undefined)
    throw new UserError(`${url} was not written by mixbct: nothing else is replaced`, { hint: ['move it away yourself', elsewhere] }); // biome-ignore format: short
  return found;
}

/**
 * Writes a file as an object, whole or not at all. What another process writes there meanwhile is not replaced, if the storage
 * knows conditional writes.
 * @throws UserError as `requireReplaceableObject`; FileError as `headObject`
 */
export async function uploadFile(
  file: string,
  url: string,
  { replace = false, digest, partBytes = PART_BYTES, beforeLast }: UploadOptions = {},
): Promise<void> {
  const found = await requireReplaceableObject(url, { replace });
  const prepared = beforeLast && (async () => {
    if ((await headObject(url))?.etag !== found?.etag) throw writtenMeanwhile(url);
    await beforeLast();
  }); // biome-ignore format: short
  const metadata = { [MARK]: '1', ...(digest !== undefined && { [`${MARK}-digest`]: digest }) };
  const condition = found ? { IfMatch: found.etag } : { IfNoneMatch: '*' };
  const { size } = await stat(file);
  const part = Math.max(partBytes, Math.ceil(size / MOST_PARTS));
  await answered(url, async (to) => {
    const put = (unless: Condition): Promise<void> =>
      size > part || prepared
        ? putParts(to, { file, size, part }, url, metadata, unless, prepared)
        : putWhole(to, { file, size }, url, metadata, unless);
    try {
      await put(condition);
    } catch (error) {
      if (nameOf(error) !== 'NotImplemented') return await requireStored(url, digest, error);
      await put({}).catch((failed) => requireStored(url, digest, failed));
    }
  });
}

/**
 * Whether a write that was refused had been stored before: the client repeats a request whose answer is lost, and the repetition meets
 * the object that the first one has made, or no open upload.
 * @throws what refused it, if the object there has another digest
 */
async function requireStored(url: string, digest: string | undefined, error: unknown): Promise<void> {
  const isWritten = statusOf(error) === 412 || nameOf(error) === 'ConditionalRequestConflict';
  if (!isWritten && nameOf(error) !== 'NoSuchUpload') throw error;
  const found = digest === undefined ? null : await headObject(url);
  if (found && digestOfObject(found) === digest) return;
  throw isWritten ? writtenMeanwhile(url) : error;
}

const writtenMeanwhile = (url: string): UserError =>
  new UserError(`${url} exists already: another process has written it meanwhile`, {
    hint: optionHint('pass --force to replace it'),
  });

type Condition = { readonly IfMatch?: string; readonly IfNoneMatch?: string };

async function putWhole(
  { sdk, client }: Store,
  { file, size }: { readonly file: string; readonly size: number },
  url: string,
  Metadata: Record<string, string>,
  condition: Condition,
): Promise<void> {
  const { bucket: Bucket, key: Key } = objectPlace(url);
  const Body = await readRange(file, 0, size);
  await client.send(new sdk.PutObjectCommand({ Bucket, Key, Body, Metadata, ...condition }));
}

/** An upload in parts: nothing is there before the last call. */
async function putParts(
  { sdk, client }: Store,
  { file, size, part }: { readonly file: string; readonly size: number; readonly part: number },
  url: string,
  Metadata: Record<string, string>,
  condition: Condition,
  beforeLast?: () => Promise<void>,
): Promise<void> {
  const { bucket: Bucket, key: Key } = objectPlace(url);
  const { UploadId } = await client.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key, Metadata }));
  try {
    const Parts: S3.CompletedPart[] = [];
    for (let from = 0, PartNumber = 1; from < size; from += part, PartNumber++) {
      const Body = await readRange(file, from, Math.min(part, size - from));
      const { ETag } = await client.send(new sdk.UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }));
      Parts.push({ PartNumber, ETag });
    }
    await beforeLast?.();
    const MultipartUpload = { Parts };
    await client.send(new sdk.CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload, ...condition }));
  } catch (error) {
    await client.send(new sdk.AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(() => undefined);
    throw error;
  }
}

async function readRange(file: string, from: number, length: number): Promise<Buffer> {
  const handle = await open(file);
  try {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(bytes, done, length - done, from + done);
      if (bytesRead === 0) throw new FileError(file, 'became shorter while it was read');
      done += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

/** Removes an object that mixbct has written, if it is there. @throws UserError if it has not; FileError as `headObject` */
export async function removeObject(url: string): Promise<void> {
  if (!(await requireReplaceableObject(url, { replace: true }))) return;
  const { bucket: Bucket, key: Key } = objectPlace(url);
  await answered(url, ({ sdk, client }) => client.send(new sdk.DeleteObjectCommand({ Bucket, Key })));
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : '');
const statusOf = (error: unknown): number | undefined =>
  (error as { readonly $metadata?: { readonly httpStatusCode?: number } }).$metadata?.httpStatusCode;

/** There is no object of this name: unlike a failure of the storage, it is one of the object. */
export class ObjectMissing extends FileError {}

/** Asks the storage; what it answers or fails with as a `FileError` that names the object and never a secret. */
async function answered<T>(url: string, ask: (store: Store) => Promise<T>): Promise<T> {
  const to = await store();
  try {
    return await ask(to);
  } catch (error) {
    if (error instanceof UserError) throw error;
    const [name, status] = [nameOf(error), statusOf(error)];
    if (name === 'NoSuchBucket') throw new FileError(url, 'no such bucket', 'check the name and AWS_ENDPOINT_URL');
    if (name === 'NoSuchKey' || (status === 404 && name !== 'NoSuchUpload'))
      throw new ObjectMissing(url, 'no such object');
    if (status === 401 || status === 403)
      throw new FileError(url, `the storage refuses access (${name})`, 'check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights that they give'); // biome-ignore format: short
    if (name === 'CredentialsProviderError')
      throw new FileError(url, 'no credentials were found', 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE'); // biome-ignore format: short
    if (/region is missing/i.test(messageOf(error)))
      throw new FileError(url, 'no region is named', 'set AWS_REGION, or AWS_ENDPOINT_URL for another storage');
    if ((error as NodeJS.ErrnoException).syscall === 'write') throw error; // a disk, not the storage
    const problem = [name, status ?? (error as NodeJS.ErrnoException).code].filter(Boolean).join(', ');
    throw new FileError(url, `the storage does not answer as it should (${problem})`, 'check AWS_ENDPOINT_URL and the network, then give the same command again'); // biome-ignore format: short
  }
}
