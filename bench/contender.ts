import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { median, tell } from './bench.ts';

export type Command = {
  /** What it is called in every line of output. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Added to an environment that is cleaned of allocator settings. */
  readonly env?: Readonly<Record<string, string>>;
};

/** What a contender says when it has warmed up. */
export type Ready = { readonly torch: string; readonly threads: number; readonly losses: readonly number[] };

/** Variables that would change a contender's allocator or threads behind the benchmark's back; not where the addons are. */
const FOREIGN = /^(LD_PRELOAD|MALLOC_|GLIBC_TUNABLES|MIXBCT_(?!HOME$)|OMP_|KMP_|GOMP_|MKL_)/;

export const cleanEnvironment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([key]) => !FOREIGN.test(key)));

/** A contender could not start or died; `message` ends with what it printed last. */
export class ContenderFailed extends Error {
  override readonly name = 'ContenderFailed';
}

/**
 * A program that waits, warmed up, in a process of its own: it answers `run N` with the seconds that N steps took.
 * Both sides of a comparison are alive at once, so that measurements can alternate within seconds of each other.
 */
export class Contender implements AsyncDisposable {
  readonly name: string;
  readonly ready: Ready;
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #failure: () => ContenderFailed;

  private constructor(
    name: string,
    ready: Ready,
    child: ChildProcess,
    answers: AsyncIterator<string>,
    failure: () => ContenderFailed,
  ) {
    this.name = name;
    this.ready = ready;
    this.#child = child;
    this.#answers = answers;
    this.#failure = failure;
  }

  static async start({ name, program, args, env = {} }: Command): Promise<Contender> {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...cleanEnvironment(), ...env } });
    let errors = '';
    child.stderr!.on('data', (text) => (errors = (errors + text).slice(-4000)));
    child.on('error', (error) => (errors += error.message));
    const failure = (): ContenderFailed =>
      new ContenderFailed(`${name}: ${lastLine(errors) || 'ended without a word'}`);
    const lines: Interface = createInterface({ input: child.stdout! });
    const answers = lines[Symbol.asyncIterator]();
    const first = await answers.next();
    if (first.done) {
      await ended(child);
      throw failure();
    }
    return new Contender(name, JSON.parse(first.value), child, answers, failure);
  }

  /** Seconds that `steps` steps take, or something else that the program does. */
  async run(steps: number, what = 'run'): Promise<number> {
    this.#child.stdin!.write(`${what} ${steps}\n`);
    const answer = await this.#answers.next();
    if (answer.done) {
      await ended(this.#child);
      throw this.#failure();
    }
    return JSON.parse(answer.value).seconds;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin!.end();
    await ended(this.#child);
  }
}

const ended = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null || child.pid === undefined
    ? Promise.resolve()
    : new Promise((resolve) => child.once('close', () => resolve()));

const lastLine = (text: string): string => text.trim().split('\n').at(-1)!.trim();

/** Two programs in float32 on one libtorch make the same first steps; more than this apart, they do different work. */
const SAME_WORK = 5e-3;
/** The same where one of them or both compute in bf16, whose 8 bits are rounded in every layer: 5e-4 were seen. */
export const SAME_WORK_BF16 = 1e-2;

/** @throws Error if the two did not compute the same thing in their warm-up, or not with the same means. */
export function requireSameWork(ours: Contender, peer: Contender, tolerance = SAME_WORK): void {
  if (ours.ready.threads !== peer.ready.threads)
    throw new Error(`${peer.name} uses ${peer.ready.threads} threads, ${ours.name} ${ours.ready.threads}`);
  if (ours.ready.losses.length !== peer.ready.losses.length)
    throw new Error(`${peer.name} took another number of warm-up steps than ${ours.name}`);
  for (const [step, loss] of ours.ready.losses.entries()) {
    const other = peer.ready.losses[step]!;
    if (!(Math.abs(loss - other) <= tolerance * Math.abs(other)))
      throw new Error(`step ${step + 1}: ${ours.name} has loss ${loss}, ${peer.name} ${other}: they do different work`);
  }
}

export type Pairs = { readonly ours: readonly number[]; readonly peer: readonly number[] };

/** Seconds per step of both sides, `runs` times in turn. */
export async function alternate(
  ours: Contender,
  peer: Contender,
  { runs, steps }: { readonly runs: number; readonly steps: number },
): Promise<Pairs> {
  const pairs = { ours: [] as number[], peer: [] as number[] };
  for (let run = 0; run < runs; run++) {
    pairs.ours.push((await ours.run(steps)) / steps);
    pairs.peer.push((await peer.run(steps)) / steps);
    tell(`  ${run + 1}/${runs}  ${ours.name} ${inMs(pairs.ours.at(-1)!)}   ${peer.name} ${inMs(pairs.peer.at(-1)!)}`);
  }
  return pairs;
}

const inMs = (seconds: number): string => `${(seconds * 1000).toFixed(seconds < 0.1 ? 2 : 0)} ms`;

/** Median over the runs of (time of the peer / time of ours) in the same run. */
export const speedup = ({ ours, peer }: Pairs): number => median(ours.map((seconds, run) => peer[run]! / seconds));
