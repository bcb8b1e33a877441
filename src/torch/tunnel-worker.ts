import { writeSync } from 'node:fs';
import { connect as connectPlain, createServer as createPlainServer, type Server, type Socket } from 'node:net';
import { type Duplex, pipeline } from 'node:stream';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { type MessagePort, workerData } from 'node:worker_threads';
import { codeOf, messageOf } from '../base/errors.ts';

/** One end of a tunnel. Both ends derive `key` from their shared secret. */
export type TunnelEnd = { readonly key: Uint8Array; readonly host: string; readonly port: number } & (
  | {
      readonly side: 'server';
      /** The port on loopback that connections are forwarded to. */
      readonly target: number;
    }
  | { readonly side: 'client'; readonly timeoutMs: number }
);

/** A worker's one report: its port, or why it has none. */
export type TunnelState =
  | { readonly port: number }
  | { readonly problem: 'busy' | 'refused' | 'unreachable'; readonly detail: string };

/** The port to report on, and the flag on which the main thread sleeps until then. */
export type TunnelTask = { readonly end: TunnelEnd; readonly reports: MessagePort; readonly ready: Int32Array };

const { end, reports, ready } = workerData as TunnelTask;

/** TLS 1.2 is the newest version for which Node.js offers pre-shared keys; the suite has forward secrecy. */
const protocol = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
  ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
} as const;
const IDENTITY = 'mixbct';
/** Dropped connections that are reported one by one. */
const MOST_TOLD = 5;
/** How long a connection may take to prove that it knows the secret. */
const HANDSHAKE_MS = 10_000;
/** Limit of open connections: a process of the run needs two, the rest are strangers that will be dropped. */
const MOST_CONNECTIONS = 4096;
const RETRY_MS = 200;

function report(state: TunnelState): void {
  reports.postMessage(state);
  Atomics.store(ready, 0, 1);
  Atomics.notify(ready, 0);
}

/** Forwards data both ways until one side ends. */
function pipeBoth(a: Duplex, b: Duplex): void {
  const close = (): void => {
    a.destroy();
    b.destroy();
  };
  pipeline(a, b, close);
  pipeline(b, a, close);
}

function listen(server: Server, port: number, host: string | undefined, onListening: (port: number) => void): void {
  server.once('error', (error) => {
    // the address of this machine as others see it need not be one that it has
    if (host !== undefined && codeOf(error) === 'EADDRNOTAVAIL') listen(server, port, undefined, onListening);
    else report({ problem: 'busy', detail: messageOf(error) });
  });
  server.listen({ port, ...(host !== undefined && { host }) }, () => {
    server.removeAllListeners('error');
    onListening((server.address() as { readonly port: number }).port);
  });
}

function serve({ key, host, port, target }: TunnelEnd & { readonly side: 'server' }): void {
  let dropped = 0;
  const server = createTlsServer({
    ...protocol,
    handshakeTimeout: HANDSHAKE_MS,
    pskCallback: (_, identity) => (identity === IDENTITY ? key : null),
  });
  server.maxConnections = MOST_CONNECTIONS;
  server.on('secureConnection', (peer) => pipeBoth(peer, connectPlain(target, '127.0.0.1')));
  server.on('tlsClientError', (_, peer: TLSSocket) => {
    peer.destroy();
    dropped++;
    // the main thread may wait in a collective: it prints nothing then
    if (dropped <= MOST_TOLD)
      writeSync(
        2,
        `rendezvous: dropped a connection${peer.remoteAddress ? ` from ${peer.remoteAddress}` : ''} that does not know the secret of this run${dropped === MOST_TOLD ? ' (more are not reported)' : ''}\n`,
      );
  });
  listen(server, port, host, (at) => report({ port: at }));
}

/** A connection whose other end has proved that it knows the secret. @throws the reason otherwise */
function reach({ key, host, port }: TunnelEnd, deadlineMs: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      ...protocol,
      host,
      port,
      pskCallback: () => ({ psk: key, identity: IDENTITY }),
      checkServerIdentity: () => undefined, // the secret authenticates the other end
    });
    const late = setTimeout(
      () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
      Math.max(1, Math.min(HANDSHAKE_MS, deadlineMs - performance.now())),
    );
    socket.once('secureConnect', () => {
      clearTimeout(late);
      socket.off('error', fail);
      resolve(socket);
    });
    const fail = (error: Error): void => {
      clearTimeout(late);
      reject(error);
    };
    socket.once('error', fail);
  });
}

/** Tries again until the other end listens. */
async function reachInTime(end: TunnelEnd, deadlineMs: number): Promise<TLSSocket> {
  for (;;)
    try {
      return await reach(end, deadlineMs);
    } catch (error) {
      const code = codeOf(error) ?? '';
      const answered = /^ERR_SSL|^ERR_TLS|^EPROTO/.test(code);
      if (answered || performance.now() > deadlineMs) throw Object.assign(error as Error, { answered });
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
}

async function enter(end: TunnelEnd & { readonly side: 'client' }): Promise<void> {
  const deadlineMs = performance.now() + end.timeoutMs;
  let spare: TLSSocket | undefined;
  try {
    spare = await reachInTime(end, deadlineMs);
  } catch (error) {
    const { answered } = error as { readonly answered?: boolean };
    report({ problem: answered ? 'refused' : 'unreachable', detail: messageOf(error) });
    return;
  }
  const server = createPlainServer(async (own: Socket) => {
    own.on('error', () => own.destroy());
    try {
      const there = spare ?? (await reachInTime(end, deadlineMs));
      spare = undefined;
      pipeBoth(own, there);
    } catch {
      own.destroy();
    }
  });
  listen(server, 0, '127.0.0.1', (port) => report({ port }));
}

if (end.side === 'server') serve(end);
else await enter(end);
