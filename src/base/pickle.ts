import { FileError } from './errors.ts';
import { MalformedPickle, PickleBytes } from './pickle-bytes.ts';

export { MalformedPickle } from './pickle-bytes.ts';

/**
 * A class or function that a pickle may name. The reader never looks one up anywhere: `call` and `build` are ours, and see
 * data only. One without `call` may be named but not called (a class that is a mere tag).
 */
export class PickleGlobal {
  readonly name: string;
  /** What calling it with these arguments gives. @throws Malformed if the arguments are none that it takes. */
  readonly call: ((args: readonly unknown[]) => unknown) | undefined;
  /** Takes in the state of an object that `call` made; without it, state is passed over. */
  readonly build: ((made: object, state: unknown) => void) | undefined;

  constructor(name: string, call?: PickleGlobal['call'], build?: PickleGlobal['build']) {
    this.name = name;
    this.call = call;
    this.build = build;
  }
}

/**
 * What a pickle names and the reader does not know, or made of it: a name and where it stands. It is neither looked up, built
 * nor called; what is put into it is dropped.
 */
export class Opaque {
  readonly name: string;
  /** Of the opcode that named it. */
  readonly offset: number;
  constructor(name: string, offset: number) {
    this.name = name;
    this.offset = offset;
  }
}

export type PickleOptions = {
  /** All that may be named. */
  readonly globals?: readonly PickleGlobal[];
  /** What happens to a class or function that is not in `globals`: an error, or an `Opaque` in its place. */
  readonly unknown?: 'refuse' | 'opaque';
  /** Resolves the ids of what a program keeps outside the pickle; without it, such ids are refused. */
  readonly persistent?: (id: unknown) => unknown;
  /** What a string of Python 2 becomes: its bytes (images), or a string of characters up to U+00FF (names). */
  readonly python2Strings?: 'bytes' | 'latin1';
};

/** The newest protocol there is (Python 3.8). */
const NEWEST_PROTOCOL = 5;
/** Far more than Python's own pickler ever has open or remembers: it writes lists in batches of a thousand. */
const MOST_OPEN = 1 << 20;
const MOST_REMEMBERED = 1 << 24;

/**
 * Reads a Python pickle of data, protocols 0 to 5, and executes nothing: all it makes of a file are None → null, numbers
 * (bigint where a double would round), strings, bytes → Uint8Array, lists → arrays, tuples → frozen arrays, dicts → Map, sets
 * → Set, and what `globals` make. Values may contain themselves. Work and memory are linear in the length of `bytes`.
 *
 * Source: the opcodes' descriptions in Python's own pickletools module.
 * @throws FileError naming `path`, the opcode and its offset.
 */
export const readPickle = (path: string, bytes: Uint8Array, options: PickleOptions = {}): unknown =>
  readFirstPickle(path, bytes, options).value;

/** `readPickle` for one pickle of several in a row: its value, and how many bytes it takes. */
export function readFirstPickle(
  path: string,
  bytes: Uint8Array,
  options: PickleOptions = {},
): { readonly value: unknown; readonly length: number } {
  const source = new PickleBytes(bytes);
  const machine = new Machine(source, options);
  let [at, name] = [0, 'the first'];
  try {
    while (!machine.stopped) {
      at = source.at;
      source.opcodeAt = at;
      const code = source.byte();
      const operation = operations.get(code);
      name = operation?.name ?? `0x${code.toString(16).padStart(2, '0')}`;
      if (!operation) throw new MalformedPickle('there is no such opcode');
      operation.run(machine, source);
    }
    return { value: machine.pop(), length: source.at };
  } catch (error) {
    if (!(error instanceof MalformedPickle)) throw error;
    throw notData(path, name, at, error);
  }
}

const notData = (path: string, opcode: string, at: number, { message, hint }: MalformedPickle): FileError =>
  new FileError(path, `is no pickle of data: opcode ${opcode} at byte ${at}: ${message}`, hint);

/** What `readPickle` says of a name that it refuses. */
export const unknownName = (path: string, { name, offset }: Opaque): FileError =>
  notData(path, 'GLOBAL', offset, notKnown(name));

const notKnown = (name: string): MalformedPickle =>
  new MalformedPickle(
    `it names ${shortened(name)}, which this program does not know and will not run`,
    'only pickles of plain data can be read',
  );

/** The pickle machine's stack and memory. Every operation is a few pushes and pops; nothing here calls itself. */
class Machine {
  stopped = false;
  readonly #source: PickleBytes;
  readonly #options: PickleOptions;
  readonly #globals: ReadonlyMap<string, PickleGlobal>;
  readonly #stack: unknown[] = [];
  /** Heights of the stack at the marks that are open. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, unknown>();
  readonly #makers = new WeakMap<object, PickleGlobal>();

  constructor(source: PickleBytes, options: PickleOptions) {
    this.#source = source;
    this.#options = options;
    this.#globals = new Map((options.globals ?? []).map((global) => [global.name, global]));
  }

  push(value: unknown): void {
    if (this.#stack.length >= MOST_OPEN) throw new MalformedPickle(`more than ${MOST_OPEN} values are open`);
    this.#stack.push(value);
  }

  pop(): unknown {
    this.#reach(1);
    return this.#stack.pop();
  }

  top(): unknown {
    this.#reach(1);
    return this.#stack.at(-1);
  }

  /** @throws Malformed if fewer values than `count` stand above the last mark. */
  #reach(count: number): void {
    if (this.#stack.length - (this.#marks.at(-1) ?? 0) < count) throw new MalformedPickle('the stack is empty');
  }

  popMany(count: number): unknown[] {
    this.#reach(count);
    return this.#stack.splice(this.#stack.length - count);
  }

  mark(): void {
    if (this.#marks.length >= MOST_OPEN) throw new MalformedPickle(`more than ${MOST_OPEN} marks are open`);
    this.#marks.push(this.#stack.length);
  }

  popToMark(): unknown[] {
    const from = this.#marks.pop();
    if (from === undefined) throw new MalformedPickle('no mark is open');
    return this.#stack.splice(from);
  }

  /** Drops the last value, or the last mark if nothing stands above it. */
  drop(): void {
    if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
    else this.pop();
  }

  remember(index: number): void {
    if (this.#memo.size >= MOST_REMEMBERED)
      throw new MalformedPickle(`more than ${MOST_REMEMBERED} values are remembered`);
    this.#memo.set(index, this.top());
  }

  rememberNext(): void {
    this.remember(this.#memo.size);
  }

  recall(index: number): void {
    if (!this.#memo.has(index)) throw new MalformedPickle(`nothing is remembered under ${index}`);
    this.push(this.#memo.get(index));
  }

  /** The list that a value is appended to. */
  list(): unknown[] {
    const value = this.top();
    if (value instanceof Opaque) return [];
    if (!Array.isArray(value) || Object.isFrozen(value)) throw new MalformedPickle('wanted a list to append to');
    return value;
  }

  set(items: Readonly<unknown[]>): void {
    const value = this.top();
    if (value instanceof Opaque) return;
    if (!(value instanceof Set)) throw new MalformedPickle('wanted a set to add to');
    for (const item of items) value.add(item);
  }

  /** Enters keys and values by turns into the dict on top, which may be one that a global made. */
  enter(items: readonly unknown[]): void {
    const value = this.top();
    if (value instanceof Opaque) return;
    if (!(value instanceof Map)) throw new MalformedPickle('wanted a dict to enter into');
    fill(value, items);
  }

  python2(bytes: Uint8Array): void {
    this.push(this.#options.python2Strings === 'bytes' ? bytes : Buffer.from(bytes).toString('latin1'));
  }

  global(module: unknown, name: unknown): void {
    if (typeof module !== 'string' || typeof name !== 'string') throw new MalformedPickle('wanted two names');
    const full = `${module}.${name}`;
    const global = this.#globals.get(full);
    if (global) this.push(global);
    else this.opaque(full);
  }

  /** For what only an unknown class needs. @throws Malformed unless such classes are passed over. */
  opaque(name: string, refusal = notKnown(name)): void {
    if (this.#options.unknown !== 'opaque') throw refusal;
    this.push(new Opaque(name, this.#source.opcodeAt));
  }

  call(callee: unknown, args: unknown): void {
    if (callee instanceof Opaque) {
      this.push(new Opaque(callee.name, callee.offset));
      return;
    }
    if (!(callee instanceof PickleGlobal)) throw new MalformedPickle('calls what is no class and no function');
    if (!callee.call) throw new MalformedPickle(`calls ${callee.name}, which may only be named`);
    if (!Array.isArray(args)) throw new MalformedPickle(`calls ${callee.name} with arguments that are no tuple`);
    const made = callee.call(args);
    if (made !== null && typeof made === 'object') this.#makers.set(made, callee);
    this.push(made);
  }

  /** Only of unknown classes: the pickles of known classes do not create instances this way. */
  instance(callee: unknown, what: string): void {
    if (!(callee instanceof Opaque)) throw notNeeded(what);
    this.call(callee, []);
  }

  build(state: unknown): void {
    const made = this.top();
    if (made instanceof Opaque) return;
    const maker = made !== null && typeof made === 'object' ? this.#makers.get(made) : undefined;
    if (!maker) throw new MalformedPickle('sets the state of what no global made');
    maker.build?.(made as object, state);
  }

  persistent(id: unknown): void {
    if (!this.#options.persistent) throw new MalformedPickle('refers to something outside the pickle');
    this.push(this.#options.persistent(id));
  }

  protocol(version: number): void {
    if (version > NEWEST_PROTOCOL)
      throw new MalformedPickle(`protocol ${version}, the newest that is known is ${NEWEST_PROTOCOL}`);
  }

  frame(length: number): void {
    if (length > this.#source.left)
      throw new MalformedPickle(`a frame of ${length} bytes, ${this.#source.left} are left: cut short`);
  }
}

const shortened = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text);
const tuple = (items: unknown[]): readonly unknown[] => Object.freeze(items);

function fill(map: Map<unknown, unknown>, items: readonly unknown[]): Map<unknown, unknown> {
  if (items.length % 2 !== 0) throw new MalformedPickle('a key without a value');
  for (let i = 0; i < items.length; i += 2) map.set(items[i], items[i + 1]);
  return map;
}

function decimalIndex(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new MalformedPickle(`wanted a number, got ${JSON.stringify(shortened(text))}`);
  return Number(text);
}

type Operation = { readonly name: string; readonly run: (machine: Machine, source: PickleBytes) => void };

/** Opcode → what it does. `m` is the machine, `s` the bytes after the opcode. */
// biome-ignore format: a table
const operations: ReadonlyMap<number, Operation> = new Map(
  (
    [
      // control
      [0x80, 'PROTO', (m, s) => m.protocol(s.byte())],
      [0x95, 'FRAME', (m, s) => m.frame(s.length(8))],
      [0x2e, 'STOP', (m) => { m.stopped = true; }],
      // the stack and the memory
      [0x28, 'MARK', (m) => m.mark()],
      [0x30, 'POP', (m) => m.drop()],
      [0x31, 'POP_MARK', (m) => m.popToMark()],
      [0x32, 'DUP', (m) => m.push(m.top())],
      [0x70, 'PUT', (m, s) => m.remember(decimalIndex(s.line()))],
      [0x71, 'BINPUT', (m, s) => m.remember(s.byte())],
      [0x72, 'LONG_BINPUT', (m, s) => m.remember(s.length(4))],
      [0x94, 'MEMOIZE', (m) => m.rememberNext()],
      [0x67, 'GET', (m, s) => m.recall(decimalIndex(s.line()))],
      [0x68, 'BINGET', (m, s) => m.recall(s.byte())],
      [0x6a, 'LONG_BINGET', (m, s) => m.recall(s.length(4))],
      // constants and numbers
      [0x4e, 'NONE', (m) => m.push(null)],
      [0x88, 'NEWTRUE', (m) => m.push(true)],
      [0x89, 'NEWFALSE', (m) => m.push(false)],
      [0x49, 'INT', (m, s) => m.push(s.decimal({ booleans: true }))],
      [0x4a, 'BININT', (m, s) => m.push(s.int32())],
      [0x4b, 'BININT1', (m, s) => m.push(s.byte())],
      [0x4d, 'BININT2', (m, s) => m.push(s.length(2))],
      [0x4c, 'LONG', (m, s) => m.push(s.decimal())],
      [0x8a, 'LONG1', (m, s) => m.push(s.integer(s.byte()))],
      [0x8b, 'LONG4', (m, s) => m.push(s.integer(s.length(4)))],
      [0x46, 'FLOAT', (m, s) => m.push(s.float())],
      [0x47, 'BINFLOAT', (m, s) => m.push(s.double())],
      // strings
      [0x53, 'STRING', (m, s) => m.python2(s.quoted())],
      [0x54, 'BINSTRING', (m, s) => m.python2(s.take(s.length(4)))],
      [0x55, 'SHORT_BINSTRING', (m, s) => m.python2(s.take(s.byte()))],
      [0x42, 'BINBYTES', (m, s) => m.push(s.take(s.length(4)))],
      [0x43, 'SHORT_BINBYTES', (m, s) => m.push(s.take(s.byte()))],
      [0x8e, 'BINBYTES8', (m, s) => m.push(s.take(s.length(8)))],
      [0x96, 'BYTEARRAY8', (m, s) => m.push(s.take(s.length(8)))],
      [0x56, 'UNICODE', (m, s) => m.push(s.rawUnicode())],
      [0x58, 'BINUNICODE', (m, s) => m.push(s.utf8(s.length(4)))],
      [0x8c, 'SHORT_BINUNICODE', (m, s) => m.push(s.utf8(s.byte()))],
      [0x8d, 'BINUNICODE8', (m, s) => m.push(s.utf8(s.length(8)))],
      // containers
      [0x29, 'EMPTY_TUPLE', (m) => m.push(tuple([]))],
      [0x85, 'TUPLE1', (m) => m.push(tuple(m.popMany(1)))],
      [0x86, 'TUPLE2', (m) => m.push(tuple(m.popMany(2)))],
      [0x87, 'TUPLE3', (m) => m.push(tuple(m.popMany(3)))],
      [0x74, 'TUPLE', (m) => m.push(tuple(m.popToMark()))],
      [0x5d, 'EMPTY_LIST', (m) => m.push([])],
      [0x6c, 'LIST', (m) => m.push(m.popToMark())],
      [0x61, 'APPEND', (m) => { const item = m.pop(); m.list().push(item); }],
      [0x65, 'APPENDS', (m) => { const items = m.popToMark(); const list = m.list(); for (const item of items) list.push(item); }],
      [0x7d, 'EMPTY_DICT', (m) => m.push(new Map())],
      [0x64, 'DICT', (m) => m.push(fill(new Map(), m.popToMark()))],
      [0x73, 'SETITEM', (m) => { const pair = m.popMany(2); m.enter(pair); }],
      [0x75, 'SETITEMS', (m) => { const pairs = m.popToMark(); m.enter(pairs); }],
      [0x8f, 'EMPTY_SET', (m) => m.push(new Set())],
      [0x90, 'ADDITEMS', (m) => { const items = m.popToMark(); m.set(items); }],
      [0x91, 'FROZENSET', (m) => m.push(new Set(m.popToMark()))],
      // what the caller allows
      [0x63, 'GLOBAL', (m, s) => m.global(s.line(), s.line())],
      [0x93, 'STACK_GLOBAL', (m) => { const [module, name] = m.popMany(2); m.global(module, name); }],
      [0x52, 'REDUCE', (m) => { const [callee, args] = m.popMany(2); m.call(callee, args); }],
      [0x81, 'NEWOBJ', (m) => { const [callee, args] = m.popMany(2); m.call(callee, args); }],
      [0x62, 'BUILD', (m) => { const state = m.pop(); m.build(state); }],
      [0x50, 'PERSID', (m, s) => m.persistent(s.line())],
      [0x51, 'BINPERSID', (m) => m.persistent(m.pop())],
      // opcodes that checkpoints do not use
      [0x69, 'INST', (m, s) => { m.popToMark(); const name = `${s.line()}.${s.line()}`; m.opaque(name, notNeeded(name)); }],
      [0x6f, 'OBJ', (m) => { const [callee] = m.popToMark(); m.instance(callee, 'an instance of an old-style class'); }],
      [0x92, 'NEWOBJ_EX', (m) => { const [callee] = m.popMany(3); m.instance(callee, 'a constructor with named arguments'); }],
      [0x82, 'EXT1', () => refuse('a registered extension')],
      [0x83, 'EXT2', () => refuse('a registered extension')],
      [0x84, 'EXT4', () => refuse('a registered extension')],
      [0x97, 'NEXT_BUFFER', () => refuse('a buffer outside the pickle')],
      [0x98, 'READONLY_BUFFER', () => refuse('a buffer outside the pickle')],
    ] satisfies [number, string, Operation['run']][]
  ).map(([code, name, run]) => [code, { name, run }]),
);

const notNeeded = (what: string): MalformedPickle =>
  new MalformedPickle(`it wants ${shortened(what)}, which no pickle of data needs`);

function refuse(what: string): never {
  throw notNeeded(what);
}

/**
 * What Python 3 writes bytes as in protocols 0 to 2, which have no opcode for them: a string to be encoded, or a call of
 * `bytes` for none. Strings are encoded once however often a pickle asks, so that a small file stays a small job.
 */
export function bytesGlobals(): readonly PickleGlobal[] {
  const encoded = new Map<string, Uint8Array>();
  const encode = ([text, encoding]: readonly unknown[]): Uint8Array => {
    if (typeof text !== 'string' || encoding !== 'latin1')
      throw new MalformedPickle('wanted a string to encode as latin1');
    const known = encoded.get(text) ?? Buffer.from(text, 'latin1');
    encoded.set(text, known);
    return known;
  };
  const none = (args: readonly unknown[]): Uint8Array => {
    if (args.length > 0) throw new MalformedPickle('wanted a call of bytes without arguments');
    return new Uint8Array(0);
  };
  return [
    new PickleGlobal('_codecs.encode', encode),
    new PickleGlobal('__builtin__.bytes', none),
    new PickleGlobal('builtins.bytes', none),
  ];
}
