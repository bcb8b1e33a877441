import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { availableParallelism, constants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { removeStaleTemporaries, temporaryPath } from '../artifacts/process-identity.ts';
import { Interrupted, PEER_LOST, ProcessFailed } from '../base/errors.ts';
import { formatDuration } from '../base/progress.ts';
import { STOP_SIGNALS } from '../base/stop-signals.ts';
import { packageRoot } from '../base/version.ts';
import { LAUNCHER, RENDEZVOUS_FILE } from '../torch/variables.ts';
import type { LaunchOptions } from './check-launch.ts';

/** How long the others have to end by themselves when one has failed, before they are killed. */
const GRACE_MS = 4000;
/** A process that has lost another one may end before it: so long the one that failed has to say why. */
const LAST_WORDS_MS = 1000;
/** Lines of a process's errors that are said again at the end. */
const LAST_LINES = 20;

/**
 * Runs a command line of mixbct as several processes that work together, and ends when all have ended. `checkLaunch` says whether the
 * options fit. @throws ProcessFailed if one has failed; Interrupted if they were told to stop.
 */
export async function launchProcesses(words: readonly string[], options: LaunchOptions): Promise<void> {
  const { nproc, nnodes, nodeRank, rdzvSecret } = options;
  const meeting = meetingPlace(options);
  const shared = {
    WORLD_SIZE: String(nproc * nnodes),
    LOCAL_WORLD_SIZE: String(nproc),
    ...meeting.variables,
    ...(rdzvSecret !== undefined && { MIXBCT_RDZV_SECRET_FILE: resolve(rdzvSecret) }),
    OMP_NUM_THREADS: process.env['OMP_NUM_THREADS'] ?? String(Math.max(1, Math.floor(availableParallelism() / nproc))),
    [LAUNCHER]: String(process.pid),
  };
  const crew = new Crew(
    Array.from({ length: nproc }, (_, localRank) => {
      const rank = nodeRank * nproc + localRank;
      return { rank, env: { ...process.env, ...shared, RANK: String(rank), LOCAL_RANK: String(localRank) } };
    }),
    words,
    options,
  );
  try {
    await crew.finished();
  } finally {
    meeting.remove();
  }
}

/** Where the processes meet: on one machine in a private folder, unless a port is asked for. */
function meetingPlace({ masterAddr = '127.0.0.1', masterPort }: LaunchOptions) {
  if (masterPort !== undefined)
    return { variables: { MASTER_ADDR: masterAddr, MASTER_PORT: String(masterPort) }, remove: () => undefined };
  const launches = join(tmpdir(), 'mixbct-launch');
  removeStaleTemporaries(launches); // of launchers that were killed
  const folder = temporaryPath(launches);
  mkdirSync(folder, { mode: 0o700 }); // for this user alone
  return {
    variables: { [RENDEZVOUS_FILE]: join(folder, 'rendezvous') },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A process, what it said last on standard error, and how it ended. */
type Member = {
  readonly rank: number;
  readonly child: ChildProcess;
  readonly lastLines: string[];
  /** `victim`: it ended because of another. */
  end: { readonly code: number; readonly how: string; readonly victim: boolean } | null;
};

/** Processes that are started together and end together. */
class Crew {
  readonly #members: readonly Member[];
  /** Those that failed, in the order in which they ended. */
  readonly #failed: Member[] = [];
  #asked = 0;
  #stopper: NodeJS.Timeout | undefined;
  #killer: NodeJS.Timeout | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #say: { readonly out: (text: string) => void; readonly err: (text: string) => void };

  constructor(
    places: readonly { readonly rank: number; readonly env: NodeJS.ProcessEnv }[],
    words: readonly string[],
    { say, signal }: Pick<LaunchOptions, 'say' | 'signal'>,
  ) {
    this.#signal = signal;
    this.#say = {
      out: say ?? ((text) => void process.stdout.write(`${text}\n`)),
      err: say ?? ((text) => void process.stderr.write(`${text}\n`)),
    };
    const main = join(packageRoot, 'dist/src/cli/main.js');
    this.#members = places.map(({ rank, env }) => {
      // a session of its own: Ctrl-C reaches it once, through us
      const child = spawn(process.execPath, [main, ...words], {
        env,
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const member: Member = { rank, child, lastLines: [], end: null };
      relay(child.stdout, (line) => this.#say.out(`[${rank}] ${line}`));
      relay(child.stderr, (line) => {
        this.#say.err(`[${rank}] ${line}`);
        member.lastLines.push(line);
        if (member.lastLines.length > LAST_LINES) member.lastLines.shift();
      });
      return member;
    });
  }

  /** Waits until all have ended. @throws ProcessFailed after the words of the one that failed have been said again. */
  async finished(): Promise<void> {
    const startedMs = performance.now();
    const pass = (signal: NodeJS.Signals): void => this.#pass(signal);
    const stop = (): void => pass('SIGINT');
    const told = this.#signal;
    if (told) told.addEventListener('abort', stop);
    else for (const signal of STOP_SIGNALS) process.on(signal, pass);
    if (told?.aborted) stop();
    try {
      await Promise.all(this.#members.map((member) => this.#ended(member)));
    } finally {
      told?.removeEventListener('abort', stop);
      for (const signal of STOP_SIGNALS) process.off(signal, pass);
      clearTimeout(this.#stopper);
      clearTimeout(this.#killer);
    }
    // all may be victims if the cause is on another machine
    const cause = this.#failed.find(({ end }) => !end!.victim) ?? this.#failed[0];
    if (!cause) return;
    if (this.#asked > 0) throw new Interrupted('all processes have stopped');
    const { rank, lastLines, end } = cause;
    const after = formatDuration(performance.now() - startedMs);
    this.#say.err(`\nprocess ${rank} ${end!.how} after ${after}; the others were stopped. It said last:`);
    for (const line of lastLines) this.#say.err(line);
    throw new ProcessFailed(`process ${rank} ${end!.how}`, end!.code);
  }

  #ended(member: Member): Promise<void> {
    return new Promise((resolve) => {
      member.child.once('error', (error) => member.lastLines.push(error.message));
      // 'close' comes after the last line; a child that could not start has no 'exit'
      member.child.once('close', (code, signal) => {
        member.end = {
          ...howEnded(code, signal),
          victim: code === PEER_LOST || (signal !== null && this.#killer !== undefined),
        };
        if (member.end.code !== 0) {
          this.#failed.push(member);
          if (this.#asked === 0) this.#stopSoon(member.end.victim ? LAST_WORDS_MS : 0); // else all are on their way
        }
        resolve();
      });
    });
  }

  /** Passes a signal on; one more than it takes to stop in order ends all at once. */
  #pass(signal: NodeJS.Signals): void {
    this.#asked++;
    this.#send(this.#asked > 2 ? 'SIGKILL' : signal);
  }

  /** Lets the others end by themselves, for a while. */
  #stopSoon(delayMs: number): void {
    this.#stopper ??= setTimeout(() => this.#stop(), delayMs);
    if (delayMs === 0) this.#stop();
  }

  #stop(): void {
    if (this.#killer) return;
    this.#send('SIGTERM');
    this.#killer = setTimeout(() => this.#send('SIGKILL'), GRACE_MS);
  }

  #send(signal: NodeJS.Signals): void {
    for (const { child, end } of this.#members) if (!end) child.kill(signal);
  }
}

/** How a child process ended, and the code by which a shell tells it. */
export const howEnded = (code: number | null, signal: NodeJS.Signals | null) => ({
  code: code !== null && code >= 0 ? code : signal ? 128 + constants.signals[signal] : 1,
  how: signal ? `was ended by ${signal}` : `ended with code ${code}`,
});

/** Passes lines on. */
function relay(from: Readable | null, hear: (line: string) => void): void {
  createInterface({ input: from! }).on('line', hear);
}
