import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import { codeOf, messageOf, optionHint, UserError } from '../base/errors.ts';
import { isMapping, shapeMismatch } from '../base/shape.ts';
import { watchPage } from './watch-page.ts';
import { Watched } from './watched.ts';
import type { Seen } from './watched-run.ts';

export type WatchOptions = {
  /** Address to listen on. Any but one of loopback is protected by a random token. */
  readonly host?: string | undefined;
  /** 0: any free port. */
  readonly port?: number | undefined;
};

/** A page that is being served. */
export type WatchServer = AsyncDisposable & {
  /** Where the page is, with the token if it needs one. */
  readonly url: string;
  /** Null on loopback. */
  readonly token: string | null;
};

export const LOOPBACK = '127.0.0.1';
export const WATCH_PORT = 7007;
/** Files are read at most so often, however many pages ask. */
const LEAST_POLL_MS = 400;
/** Longest address of a request: what a page has seen of each run stands in it. */
const LONGEST_URL = 16_384;

/**
 * Serves the live page of runs and experiments: the page, and their data as JSON. No address names a file.
 * @throws FileError if a path is no run or experiment; UserError if the address cannot be listened on
 */
export async function serveWatch(paths: readonly string[], options: WatchOptions = {}): Promise<WatchServer> {
  const { host = LOOPBACK, port = WATCH_PORT } = options;
  const watched = new Watched(paths);
  const token = isLoopback(host) ? null : randomBytes(16).toString('hex');
  let polledMs = performance.now();
  const poll = (): void => {
    if (performance.now() - polledMs < LEAST_POLL_MS) return;
    watched.poll();
    polledMs = performance.now();
  };
  const server = createServer((request, response) => {
    try {
      send(response, answerTo(request, { token, poll, watched }));
    } catch (error) {
      send(response, refusal(500, messageOf(error))); // a file that is replaced or removed meanwhile; the page asks again
    }
  });
  await listen(server, host, port);
  const at = server.address() as AddressInfo;
  return {
    url: `http://${at.family === 'IPv6' ? `[${at.address}]` : at.address}:${at.port}/${token === null ? '' : `?token=${token}`}`,
    token,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Serving = { readonly token: string | null; readonly poll: () => void; readonly watched: Watched };
type Answer = { readonly status: number; readonly type: string; readonly body: string; readonly policy?: string };

const refusal = (status: number, body: string): Answer => ({ status, type: 'text/plain', body });

function answerTo({ method, url: target = '/', headers }: IncomingMessage, { token, poll, watched }: Serving): Answer {
  if (method !== 'GET' && method !== 'HEAD') return refusal(405, 'GET only');
  if (target.length > LONGEST_URL || !target.startsWith('/')) return refusal(400, 'no such page');
  const url = new URL(`http://page${target.replace(/^\/+/, '/')}`);
  if (token === null && !isLoopbackName(headers.host)) return refusal(403, 'ask by the name localhost');
  if (token !== null && !isToken(url.searchParams.get('token'), token))
    return refusal(403, 'open the address that mixbct watch printed');
  if (url.pathname === '/') {
    const { html, policy } = watchPage();
    return { status: 200, type: 'text/html; charset=utf-8', body: html, policy };
  }
  if (url.pathname !== '/data') return refusal(404, 'no such page');
  const seen = seenIn(url.searchParams.get('seen'));
  if (!seen) return refusal(400, 'seen is damaged');
  poll();
  return { status: 200, type: 'application/json', body: JSON.stringify(watched.data(seen)) };
}

function send(response: ServerResponse, { status, type, body, policy = "default-src 'none'" }: Answer): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Content-Security-Policy': policy,
    'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Resource-Policy': 'same-origin',
  });
  response.end(body); // of HEAD requests, node drops it
}

/** What a page has of each run; null if it is not that. */
function seenIn(text: string | null): Readonly<Record<string, Seen>> | null {
  if (text === null) return {};
  try {
    const seen: unknown = JSON.parse(text);
    const fits = (one: unknown): boolean => shapeMismatch(one, { generation: 0, lines: 0, events: 0 }) === null;
    return isMapping(seen) && Object.values(seen).every(fits) ? (seen as Record<string, Seen>) : null;
  } catch {
    return null;
  }
}

/** Whether an address reaches this machine only. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** Whether a request names loopback: a page of another site that its name server has sent here names its own site. */
function isLoopbackName(host: string | undefined): boolean {
  const name = /^(\[[^\]]*\]|[^:]*)(:\d+)?$/.exec(host ?? '')?.[1] ?? '';
  return isLoopback(name.replace(/^\[|\]$/g, ''));
}

function isToken(given: string | null, token: string): boolean {
  const [a, b] = [Buffer.from(given ?? ''), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(error, host, port)));
    server.listen(port, host, resolve);
  });
}

function listenError(error: Error, host: string, port: number): Error {
  const code = codeOf(error);
  if (code === 'EADDRINUSE')
    return new UserError(`${host}:${port}: another program listens there`, {
      hint: optionHint('choose another --port, or 0 for any that is free'),
    });
  if (code === 'EACCES')
    return new UserError(`${host}:${port}: you may not listen there`, {
      hint: optionHint('choose a --port from 1024 on'),
    });
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EINVAL')
    return new UserError(`${host}: this machine has no such address (${code})`, {
      hint: optionHint('0.0.0.0 is all of its addresses; without --host only this machine sees the page'),
    });
  return error;
}
