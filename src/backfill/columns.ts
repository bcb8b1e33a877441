type Numbers = Int32Array | Float32Array | Uint8Array;

/** A list of numbers that grows. */
export class Column<T extends Numbers> {
  #values: T;
  #length = 0;

  constructor(empty: T) {
    this.#values = empty;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const Type = this.#values.constructor as new (length: number) => T;
      const larger = new Type(Math.max(1024, Math.ceil(1.5 * this.#length)));
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#values.byteLength;
  }

  /** The values; a later `push` may not reach them. */
  get values(): T {
    return this.#values.subarray(0, this.#length) as T;
  }
}
