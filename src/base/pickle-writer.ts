/** Builds a Python pickle (protocol 2) of data from the bottom up: each method puts a value on the stack or combines what is there. */
export class PickleWriter {
  readonly #parts: Buffer[] = [Buffer.of(0x80, 2)];

  #add(...parts: readonly (string | Buffer)[]): this {
    for (const part of parts) this.#parts.push(typeof part === 'string' ? Buffer.from(part, 'latin1') : part);
    return this;
  }

  text(value: string): this {
    const bytes = Buffer.from(value);
    return this.#add('X', uint32(bytes.length), bytes);
  }

  /** 0 to 2^53. */
  integer(value: number): this {
    if (value < 2 ** 31) return this.#add('J', uint32(value));
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return this.#add('\x8a', Buffer.of(8), bytes);
  }

  no(): this {
    return this.#add('\x89');
  }

  /** A class or function, by the names that Python has for it. */
  global(module: string, name: string): this {
    return this.#add(`c${module}\n${name}\n`);
  }

  /** A tuple of what `items` puts on the stack. */
  tuple(items: () => void): this {
    this.#add('(');
    items();
    return this.#add('t');
  }

  /** Puts what `pairs` puts on the stack, keys and values in turn, into the dict below. */
  setItems(pairs: () => void): this {
    this.#add('(');
    pairs();
    return this.#add('u');
  }

  /** Calls what is below the tuple on top with it. */
  reduce(): this {
    return this.#add('R');
  }

  /** Replaces the id on top by what the reader has under it. */
  persistent(): this {
    return this.#add('Q');
  }

  /** The finished pickle: what is on top of the stack. */
  finish(): Buffer {
    return Buffer.concat([...this.#parts, Buffer.from('.')]);
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
