import { createHash, createHmac } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import S3rver from 's3rver';
import { testFolder } from './folder.ts';

export const BUCKET = 'bucket';
/** The pair that s3rver knows. */
const [KEY, SECRET] = ['S3RVER', 'S3RVER'];

/** An object storage that knows conditional writes, and can be told to fail. */
export type S3Server = {
  /** Where it is, and the key that it accepts. */
  readonly env: Readonly<Record<string, string>>;
  /** `PUT bucket/key` of each request. */
  readonly requests: string[];
  /** Requests for which it is true are answered by an error of the server, 500. */
  fail: (request: string, query: URLSearchParams) => boolean;
  /** Requests for which it is true are carried out, and their answers are lost. */
  lose: (request: string, query: URLSearchParams) => boolean;
  /** Whether it takes conditional writes; else it answers that they are not implemented. */
  conditional: boolean;
};

/**
 * s3rver, which keeps objects in a folder, behind a front that adds what it does not know: signatures, and the conditions of PUT
 * and of the last call of an upload in parts. `t`: it ends with this test.
 */
export async function startS3Server(t: TestContext): Promise<S3Server> {
  const directory = testFolder(t);
  const store = new S3rver({ directory, silent: true, configureBuckets: [{ name: BUCKET, configs: [] }] });
  await store.configureBuckets();
  const answer = store.callback();
  const [writing, completed] = [new Set<string>(), new Set<string>()];
  const front = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
    const key = decodeURIComponent(pathname).slice(1);
    const name = `${request.method} ${key}`;
    server.requests.push(name);
    const refuse = (status: number, code: string): void => {
      request.resume();
      response.writeHead(status, { 'content-type': 'application/xml' });
      response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`);
    };
    if (!isSigned(request)) return refuse(403, 'SignatureDoesNotMatch');
    if (server.fail(name, searchParams)) return refuse(500, 'InternalError');
    if (server.lose(name, searchParams)) loseAnswer(request, response);
    const { 'if-none-match': absent, 'if-match': same } = request.headers;
    const upload = request.method === 'POST' ? searchParams.get('uploadId') : null;
    if (absent === undefined && same === undefined) {
      if (upload !== null && completed.has(upload)) return refuse(404, 'NoSuchUpload');
      if (upload !== null) completed.add(upload);
      return answer(request, response);
    }
    if (!server.conditional) return refuse(501, 'NotImplemented');
    const at = join(directory, key);
    const exists = existsSync(`${at}._S3rver_object`) || writing.has(key);
    const etag = exists && !writing.has(key) ? `"${readFileSync(`${at}._S3rver_object.md5`, 'utf8')}"` : '';
    if (absent === '*' ? exists : same !== etag) return refuse(412, 'PreconditionFailed');
    if (request.method === 'PUT' || searchParams.has('uploadId')) writing.add(key); // until it is there
    response.on('close', () => writing.delete(key));
    answer(request, response);
  });
  const server: S3Server = { env: {}, requests: [], fail: () => false, lose: () => false, conditional: true };
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    front.closeAllConnections();
    front.close();
  });
  const env = {
    AWS_ENDPOINT_URL: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: KEY,
    AWS_SECRET_ACCESS_KEY: SECRET,
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  return Object.assign(server, { env });
}

/** Breaks the connection in place of the answer. */
function loseAnswer(request: IncomingMessage, response: ServerResponse): void {
  response.write = () => true;
  response.end = () => {
    request.socket.destroy();
    return response;
  };
}

/** Whether a request has the signature of its headers by the secret: version 4, https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html */
function isSigned({ method, url, headers }: IncomingMessage): boolean {
  const given = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})$/.exec(headers.authorization ?? ''); // biome-ignore format: short
  if (given?.[1] !== KEY) return false;
  const [, , scope = '', names = '', signature] = given;
  const { pathname, searchParams } = new URL(url!, 'http://localhost');
  const query = [...searchParams].map((pair) => pair.map(encoded).join('=')).sort().join('&'); // biome-ignore format: short
  const signed = names.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`);
  const request = [method, pathname, query, signed.join(''), names, headers['x-amz-content-sha256']].join('\n');
  const hash = createHash('sha256').update(request).digest('hex');
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hash].join('\n');
  const key = scope.split('/').reduce<string | Buffer>((by, part) => createHmac('sha256', by).update(part).digest(), `AWS4${SECRET}`); // biome-ignore format: short
  return createHmac('sha256', key).update(text).digest('hex') === signature;
}

const encoded = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
