import { hash } from 'node:crypto';
import { FileError } from '../base/errors.ts';
import type { Hit } from './gallery-store.ts';

/** The bytes of a vector, float32 in this machine's order (little-endian on all that we run on). */
export const vectorBytes = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** A vector of its bytes. @throws FileError if they are not float32. */
export function vectorOfBytes(bytes: Uint8Array, where: string): Float32Array {
  if (bytes.byteLength === 0 || bytes.byteLength % 4 !== 0)
    throw new FileError(where, `is ${bytes.byteLength} bytes long, wanted 4 for each dimension (float32)`);
  const copy = new Float32Array(bytes.byteLength / 4); // bytes may begin anywhere
  vectorBytes(copy).set(bytes);
  return copy;
}

/** The version of a row for stores that have none of their own. */
export const versionOf = (vector: Uint8Array | null): string =>
  vector === null ? 'none' : hash('sha256', vector, 'hex').slice(0, 16);

/** `versionOf` for a vector that was read. */
export const versionOfVector = (vector: Float32Array | null): string => versionOf(vector && vectorBytes(vector));

/** Keeps the `k` rows nearest to a query by cosine, computed in double precision from the first dimension to the last. */
export class NearestRows {
  readonly #query: Float32Array;
  readonly #length: number;
  readonly #k: number;
  /** Descending scores. */
  readonly #found: { readonly key: string; readonly score: number }[] = [];

  constructor(query: Float32Array, k: number) {
    this.#query = query;
    this.#length = Math.hypot(...query);
    this.#k = k;
  }

  /** @throws FileError naming the row if a vector is of another dimension. */
  offer(key: string, vector: ArrayLike<number>, where: string): void {
    const query = this.#query;
    if (vector.length !== query.length)
      throw new FileError(where, `row ${key} has ${vector.length} dimensions, wanted ${query.length}`);
    let [sum, squares] = [0, 0];
    for (let d = 0; d < query.length; d++) {
      const x = vector[d]!;
      sum += query[d]! * x;
      squares += x * x;
    }
    const score = Math.max(-1, Math.min(1, sum / (Math.sqrt(squares) * this.#length)));
    if (Number.isNaN(score)) return; // zeros are no embedding
    const found = this.#found;
    if (found.length === this.#k && score <= found.at(-1)!.score) return;
    let at = found.length;
    while (at > 0 && found[at - 1]!.score < score) at--;
    found.splice(at, 0, { key, score });
    if (found.length > this.#k) found.pop();
  }

  hits(): Pick<Hit, 'key' | 'score'>[] {
    return [...this.#found];
  }
}
