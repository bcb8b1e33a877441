import assert from 'node:assert/strict';
import { test } from 'node:test';
import { damage } from '../../test/helpers/damage.ts';
import { golden } from '../../test/helpers/golden.ts';
import { FileError } from './errors.ts';
import { bytesGlobals, MalformedPickle, PickleGlobal, type PickleOptions, readPickle } from './pickle.ts';
import { Rng } from './rng.ts';

const pickles: Readonly<Record<string, readonly string[]>> = golden('pickles.json');
const protocols = [0, 1, 2, 3, 4, 5];

const setOf = ([items]: readonly unknown[]): Set<unknown> => new Set(items as unknown[]);
const globals = [
  ...bytesGlobals(),
  ...['__builtin__', 'builtins'].flatMap((module) => [
    new PickleGlobal(`${module}.set`, setOf),
    new PickleGlobal(`${module}.frozenset`, setOf),
  ]),
  new PickleGlobal('collections.OrderedDict', () => new Map()),
];
const parse = (bytes: Uint8Array | string, options: PickleOptions = { globals }): unknown =>
  readPickle('x.pkl', typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, options);
const written = (name: string, protocol: number): Buffer => Buffer.from(pickles[name]![protocol]!, 'base64');

const every = (name: string, check: (value: never) => void): void => {
  for (const protocol of protocols) check(parse(written(name, protocol)) as never);
};

test('what Python writes is read back, in every protocol', () => {
  every('numbers', (value) =>
    assert.deepEqual(value, [
      ...[0, 1, -1, 255, 256, 65536, -(2 ** 31), 2 ** 31],
      ...[2n ** 53n, 2n ** 53n + 1n, -(2n ** 70n), 2n ** 1000n, 0.5, -1e300, Infinity],
    ]),
  );
  every('strings', (value) =>
    assert.deepEqual(value, ['', 'plain', 'ümläut ☃ 𝄞', 'two\nlines\\u0041', 'x'.repeat(300)]),
  );
  every('containers', (value: readonly unknown[]) => {
    assert.deepEqual(value.slice(0, 6), [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4], []]);
    assert.deepEqual(
      value.slice(0, 6).map((list) => Object.isFrozen(list)),
      [true, true, true, true, true, false],
    );
    const [empty, nested, keyed] = value.slice(6) as Map<unknown, unknown>[];
    assert.deepEqual([empty, nested], [new Map(), new Map([['a', new Map([['b', null]])]])]);
    assert.deepEqual([...keyed!], [[1, 'one'], [[2, 3], 'two']]); // biome-ignore format: pairs
  });
  every('sets', (value) => assert.deepEqual(value, [new Set([3]), new Set([4])]));
  every('many', (value) => assert.deepEqual(value, [...new Array(1200).keys()]));
  every('ordered', (value: Map<string, number>) => assert.deepEqual([...value], [['b', 1], ['a', 2]])); // biome-ignore format: pairs
});

test('one object stays one object, also inside itself', () => {
  every('identity', ([first, second, looped]: readonly (readonly unknown[])[]) => {
    assert.deepEqual(first, ['shared']);
    assert.equal(first, second);
    assert.equal(looped![1], looped);
  });
});

test('images and booleans of a verification pack are read, as Python 3 and Python 2 write them', () => {
  const images = [Buffer.from('\x89PNG\r\n\x00\'"\\', 'latin1'), Buffer.from([...new Array(256).keys()])];
  every('pack', ([read, same]: [Uint8Array[], boolean[]]) => {
    assert.deepEqual(read.map((image) => Buffer.from(image)), [...images, Buffer.alloc(0)]); // biome-ignore format: short
    assert.deepEqual(same, [true, false]);
  });
  // assembled by hand from the opcodes: strings of Python 2 are bytes, and its booleans are I01 and I00 before protocol 2
  const text = "((lp0\nS'\\x89PNG\\r\\n\\x00\\'\"\\\\'\np1\naS\"it's\"\np2\na(lp3\nI01\naI00\natp4\n.";
  const short = (bytes: string): string => `U${String.fromCharCode(bytes.length)}${bytes}`;
  const binary = `\x80\x02]q\x00(${short(images[0]!.toString('latin1'))}q\x01T\x04\x00\x00\x00it'sq\x02e]q\x03(\x88\x89e\x86q\x04.`;
  for (const pack of [text, binary]) {
    const [read, same] = parse(pack, { python2Strings: 'bytes' }) as [Uint8Array[], boolean[]];
    assert.deepEqual(read.map((image) => Buffer.from(image)), [images[0], Buffer.from("it's")]); // biome-ignore format: short
    assert.deepEqual(same, [true, false]);
    const [names] = parse(pack) as [string[]];
    assert.equal(names[1], "it's");
  }
});

test('nothing is run: what is not allowed is refused by its name', () => {
  const refused = (bytes: Uint8Array | string, message: RegExp): void =>
    assert.throws(
      () => parse(bytes),
      (error) => error instanceof FileError && message.test(error.message),
    );
  for (const protocol of protocols)
    refused(written('anything', protocol), /it names (copy_reg\._reconstructor|__main__\.Anything)/);
  refused("cos\nsystem\n(S'true'\ntR.", /^x\.pkl: is no pickle of data: opcode GLOBAL at byte 0: it names os\.system/);
  refused(
    '\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.',
    /opcode STACK_GLOBAL at byte 14: it names os\.system/,
  );
  refused("(S'true'\nios\nsystem\n.", /opcode INST at byte 9: it wants os\.system/);
  refused('\x80\x02c__builtin__\neval\n.', /it names __builtin__\.eval/);
  refused('U\x09os.systemU\x04true\x85R.', /REDUCE.*calls what is no class/);
  refused(']}b.', /BUILD.*no global made/);
  refused('U\x01aQ.', /BINPERSID.*outside the pickle/);
  assert.throws(
    () => parse('cA\nb\n)R.', { globals: [new PickleGlobal('A.b')] }),
    /REDUCE at byte 6: calls A\.b, which may only be named/,
  );
});

test('globals, their state and persistent ids are the caller’s', () => {
  const seen: unknown[] = [];
  const point = new PickleGlobal(
    'geometry.Point',
    ([x]) => ({ x }),
    (made, state) => seen.push(made, state),
  );
  const options = { globals: [point], persistent: (id: unknown) => `the ${id}` };
  assert.deepEqual(parse('cgeometry\nPoint\nK\x05\x85R}U\x01aU\x08elephantQsb.', { ...options }), { x: 5 });
  assert.deepEqual(seen, [{ x: 5 }, new Map([['a', 'the elephant']])]);
});

test('malformed input is refused with opcode and offset', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /opcode the first at byte 0: .*cut short/],
    ['\xff', /opcode 0xff at byte 0: there is no such opcode/],
    ['\x80\x06N.', /PROTO at byte 0: protocol 6/],
    ['N', /opcode NONE at byte 1|cut short/],
    ['.', /STOP|the first|stack is empty/],
    ['X\xff\xff\xff\x7fabc', /BINUNICODE at byte 0: .*cut short|are the most/],
    [`\x8d${'\xff'.repeat(8)}`, /BINUNICODE8 at byte 0/],
    ['\x95\x00\x00\x00\x00\x00\x00\x00\x01.', /FRAME at byte 0: .*cut short/],
    ['X\x02\x00\x00\x00\xc3(.', /not UTF-8/],
    ['I1', /line without an end/],
    ['I1x\n.', /wanted a whole number/],
    [`L${'9'.repeat(10_000)}L\n.`, /wanted a whole number/],
    [`\x8b\x00\x10\x00\x00${'\x01'.repeat(4096)}.`, /LONG4 at byte 0: an integer of 4096 bytes/],
    ['F1.2.3.x\n.', /wanted a number/],
    ["S'a\n.", /string in quotes/],
    ['V\\U00200000\n.', /beyond Unicode/],
    ['h\x07.', /BINGET at byte 0: nothing is remembered under 7/],
    ['e.', /no mark is open/],
    ['(e.', /stack is empty/],
    ['()a.', /APPEND|stack is empty/],
    [')Na.', /wanted a list/],
    ['](Nu.', /SETITEMS/],
    ['}(Nu.', /a key without a value/],
    [']N\x90.', /no mark is open/],
    ['N'.repeat(2 ** 20 + 1), /more than 1048576 values are open/],
    ['('.repeat(2 ** 20 + 1), /more than 1048576 marks are open/],
  ];
  for (const [bytes, message] of cases)
    assert.throws(
      () => parse(bytes),
      (error) => error instanceof FileError && message.test(error.message),
      JSON.stringify(bytes.slice(0, 40)),
    );
});

test('a small file stays a small job: a megabyte encoded ten thousand times is encoded once', () => {
  const once = `c_codecs\nencode\nX\x00\x00\x10\x00${'x'.repeat(1 << 20)}q\x000\x94`;
  const again = 'h\x01h\x00X\x06\x00\x00\x00latin1\x86R0';
  const bomb = `${once}${again.repeat(10_000)}N.`;
  const before = process.memoryUsage().arrayBuffers;
  assert.equal(parse(bomb), null);
  assert.ok(process.memoryUsage().arrayBuffers - before < 100e6);
});

/** Longest time for one small file in milliseconds: a thousand times what it takes, for busy machines. */
const LONGEST_MS = 1000;

test('ten thousand damaged pickles give a value or a clean refusal, soon', () => {
  const rng = new Rng('damaged pickles');
  const sources = Object.keys(pickles).flatMap((name) => protocols.map((protocol) => written(name, protocol)));
  const opcodes = [...new Set(Buffer.concat(sources))];
  let [read, refused] = [0, 0];
  for (let i = 0; i < 10_000; i++) {
    const bytes = Buffer.from(sources[rng.integer(sources.length)]!);
    const damaged = damage(bytes, opcodes, rng);
    const startedMs = performance.now();
    try {
      parse(damaged, { globals, persistent: () => null, python2Strings: i % 2 === 0 ? 'bytes' : 'latin1' });
      read++;
    } catch (error) {
      assert.ok(
        error instanceof FileError && !(error instanceof MalformedPickle),
        `${damaged.toString('hex')}: ${error}`,
      );
      assert.match(error.message, /opcode \S+( first)? at byte \d+: /);
      refused++;
    }
    assert.ok(performance.now() - startedMs < LONGEST_MS, damaged.toString('hex'));
  }
  assert.ok(read > 1000 && refused > 1000, `${read} read, ${refused} refused`);
});
