import { setImmediate as tick } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { FileError, optionHint, UserError } from '../base/errors.ts';
import type { Augmentation } from './augment.ts';
import { type DecodeTask, decodeBatch, type UndecodableImage } from './batch-decoder.ts';
import { type ImageFile, type ImageSet, repairAdvice } from './dataset.ts';
import type { DecodeRequest, DecodeResponse } from './loader-worker.ts';
import { openSource } from './open-dataset.ts';
import type { Resize } from './pixels.ts';

/** Pixels and labels of one step. Disposing it returns its buffer: do not read it afterwards. */
export interface Batch extends Disposable {
  /** [B, side, side, 3] in shared memory */
  readonly images: Uint8Array;
  readonly labels: Int32Array; // [B]
  /** Positions in the dataset, [B]. */
  readonly indices: Int32Array;
  /** Rows of unreadable images with `skipBad: 'blank'`: their pixels are zeros. */
  readonly blank: readonly number[];
  /** How long the consumer waited for this batch. */
  readonly waitedMs: number;
}

export type EpochOptions = {
  readonly batchSize: number;
  readonly imageSide: number;
  /** How pictures of another size become squares of that side; default: they are stretched. */
  readonly resize?: Resize;
  /** Positions in the order to visit them. */
  readonly order: Int32Array;
  /** Skip a last batch that is not full. */
  readonly dropLast?: boolean;
  /** Batches to skip, for a run that is resumed. */
  readonly firstBatch?: number;
  /** Random changes; absent or null for extraction. */
  readonly augment?: Augmentation | null;
  readonly seed?: number;
  readonly epoch?: number;
  /**
   * Skip an unreadable image and list it in `bad`: another image of the batch replaces it, or with `blank` its pixels are
   * zeros and the batch lists its row.
   */
  readonly skipBad?: boolean | 'blank';
};

/** An unreadable image. */
export type BadImage = { readonly index: number; readonly name: string; readonly problem: string };

type LoadJob = {
  readonly indices: Int32Array;
  readonly pixels: Uint8Array;
  readonly done: Promise<readonly UndecodableImage[]>;
};

/**
 * Decodes and augments batches in `workers` threads ahead of their use (0: in this thread). What a batch holds depends on
 * the dataset, order, seed and epoch alone, never on the number of workers or on their speed.
 */
export class Loader implements AsyncDisposable {
  readonly #dataset: ImageSet;
  readonly #labels: Int32Array;
  readonly #crew: DecoderPool;
  readonly #bad = new Map<number, BadImage>();

  constructor(dataset: ImageSet, { workers = 1 }: { readonly workers?: number } = {}) {
    this.#dataset = dataset;
    this.#labels = dataset.labels();
    this.#crew = workers === 0 ? new InlineDecoder(dataset) : new WorkerPool(dataset, workers);
  }

  /** The images skipped so far, in order of position. */
  get bad(): readonly BadImage[] {
    return [...this.#bad.values()].sort((a, b) => a.index - b.index);
  }

  /** @throws FileError naming the first unreadable image, unless `skipBad`. */
  async *epoch(options: EpochOptions): AsyncGenerator<Batch, void, undefined> {
    const { batchSize, imageSide: side, resize, order, dropLast = false, firstBatch = 0, skipBad = false } = options;
    const count = dropLast ? Math.floor(order.length / batchSize) : Math.ceil(order.length / batchSize);
    const bytes = batchSize * side * side * 3;
    const free: Uint8Array[] = Array.from(
      { length: this.#crew.ahead },
      () => new Uint8Array(new SharedArrayBuffer(bytes)),
    );
    const augment = options.augment
      ? { limits: options.augment, seed: options.seed ?? 0, epoch: options.epoch ?? 0 }
      : null;
    const ahead: LoadJob[] = [];
    let next = firstBatch;
    const start = (): void => {
      while (next < count && free.length > 0) {
        const indices = order.slice(next * batchSize, (next + 1) * batchSize);
        const pixels = free.pop()!;
        ahead.push({ indices, pixels, done: this.#crew.fill({ indices, side, resize, augment }, pixels) });
        next++;
      }
    };
    try {
      for (let batch = firstBatch; batch < count; batch++) {
        start();
        const job = ahead.shift()!;
        const from = performance.now();
        const bad = await job.done;
        // batches that are ready would starve the event loop: signals and timers would never be handled
        await tick();
        const waitedMs = performance.now() - from;
        if (bad.length > 0) this.#remember(job, bad, skipBad !== false);
        if (skipBad === 'blank') blankOut(job, bad, side);
        else if (bad.length > 0) this.#replace(job, bad, side);
        yield {
          images: job.pixels.subarray(0, job.indices.length * side * side * 3),
          labels: job.indices.map((index) => this.#labels[index]!),
          indices: job.indices,
          blank: skipBad === 'blank' ? bad.map(({ row }) => row) : [],
          waitedMs,
          [Symbol.dispose]: () => {
            free.push(job.pixels);
            start();
          },
        };
      }
    } finally {
      next = count;
      await Promise.allSettled(ahead.map((job) => job.done));
    }
  }

  #remember({ indices }: LoadJob, bad: readonly UndecodableImage[], skip: boolean): void {
    for (const { row, problem } of bad) {
      const index = indices[row]!;
      const name = this.#dataset.name(index);
      if (!skip)
        throw new FileError(name, `cannot be read (${problem})`, [
          repairAdvice(this.#dataset),
          optionHint('pass --skip-bad-images to go on without it'),
        ]);
      this.#bad.set(index, { index, name, problem });
    }
  }

  /** Replaces each unreadable image by the first readable one of the batch. */
  #replace({ indices, pixels }: LoadJob, bad: readonly UndecodableImage[], side: number): void {
    const broken = new Set(bad.map(({ row }) => row));
    const good = indices.findIndex((_, row) => !broken.has(row));
    if (good < 0)
      throw new UserError(`${this.#dataset.path}: none of the ${indices.length} images of a batch can be read`, {
        hint: `the first: ${bad[0]!.problem}`,
      });
    const bytes = side * side * 3;
    for (const row of broken) {
      pixels.copyWithin(row * bytes, good * bytes, (good + 1) * bytes);
      indices[row] = indices[good]!;
    }
  }

  async close(): Promise<void> {
    await this.#crew.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function blankOut({ pixels }: LoadJob, bad: readonly UndecodableImage[], side: number): void {
  const bytes = side * side * 3;
  for (const { row } of bad) pixels.fill(0, row * bytes, (row + 1) * bytes);
}

/** Fills batches: worker threads, or this thread. */
interface DecoderPool {
  /** Buffers to have in flight. */
  readonly ahead: number;
  fill(task: DecodeTask, pixels: Uint8Array): Promise<readonly UndecodableImage[]>;
  close(): Promise<void>;
}

class InlineDecoder implements DecoderPool {
  readonly ahead = 1;
  readonly #source: ImageFile;

  constructor({ source }: ImageSet) {
    this.#source = openSource(source);
  }

  fill(task: DecodeTask, pixels: Uint8Array): Promise<readonly UndecodableImage[]> {
    return decodeBatch(this.#source, task, pixels);
  }

  async close(): Promise<void> {
    this.#source.close();
  }
}

type Pending = {
  readonly resolve: (bad: readonly UndecodableImage[]) => void;
  readonly reject: (error: unknown) => void;
};

class WorkerPool implements DecoderPool {
  readonly ahead: number;
  readonly #workers: Worker[];
  readonly #load: number[];
  readonly #pending = new Map<number, Pending>();
  #orders = 0;
  #failure: unknown;

  constructor({ source }: ImageSet, count: number) {
    this.ahead = 2 * count + 1;
    this.#load = new Array<number>(count).fill(0);
    this.#workers = Array.from({ length: count }, (_, i) => {
      // flags such as --input-type are those of the program, not of its threads
      const worker = new Worker(new URL('./loader-worker.js', import.meta.url), {
        workerData: { source },
        execArgv: [],
      });
      worker.unref(); // a failing main thread need not wait for its workers
      worker.on('message', (answer: DecodeResponse) => {
        this.#load[i]!--;
        const waiting = this.#take(answer.id);
        if ('bad' in answer) waiting?.resolve(answer.bad);
        else waiting?.reject(new UserError(answer.problem));
      });
      worker.on('error', (error) => this.#fail(error));
      worker.on('exit', () => this.#fail(new Error('a decoding thread has ended'))); // after dispose, no caller waits for it
      return worker;
    });
  }

  fill(task: DecodeTask, pixels: Uint8Array): Promise<readonly UndecodableImage[]> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#orders++;
    const idlest = this.#load.indexOf(Math.min(...this.#load));
    this.#load[idlest]!++;
    const done = new Promise<readonly UndecodableImage[]>((resolve, reject) =>
      this.#pending.set(id, { resolve, reject }),
    );
    done.catch(() => undefined); // the caller that awaits it gets the error; a batch that is never reached must not end the process
    this.#workers[idlest]!.ref();
    this.#workers[idlest]!.postMessage({ id, task, pixels } satisfies DecodeRequest);
    return done;
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) for (const worker of this.#workers) worker.unref();
    return pending;
  }

  #fail(error: unknown): void {
    this.#failure = error;
    for (const id of [...this.#pending.keys()]) this.#take(id)?.reject(error);
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
