import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command, Option } from 'commander';
import type { Rng } from '../../src/base/rng.ts';

/** A command line that has something wrong in it, and what. */
export type BadCase = { readonly words: readonly string[]; readonly what: string };

/** What a right command line writes to. */
const FRESH = 'new/out';
/**
 * A right command line for each command in the folder that `writeSandbox` makes, but for its output, which is taken or cannot
 * be: nothing is computed, fetched or written, and what comes first of all checks is what a mutation breaks.
 */
const LINES: Readonly<Record<string, string | readonly string[]>> = {
  quickstart: 'quickstart --out recipe.yaml/out --folder recipe.yaml/data',
  run: 'run tiny.yaml --out recipe.yaml/out',
  tune: 'tune tiny.yaml --method l2 --trials 2 --validation 2 --out recipe.yaml/out --threads 1',
  'data get': 'data get k12 --folder recipe.yaml/data',
  'data import': 'data import photos --out set',
  'data split': 'data split set --by class --out recipe.yaml/out',
  'data sample': 'data sample set --per-class 2 --out recipe.yaml/out',
  'data info': 'data info photos',
  train: [
    'train recipe.yaml --data set --out model --threads 1',
    'train recipe.yaml --data set --validate-on photos --validate-features features --set validation.every=1 --out model --threads 1',
  ],
  launch: 'launch --nproc 1 -- denoise',
  'import-model': [
    'import-model model.pt --network r18 --side 16 --width 0.015625 --mean 127.5 --std 128 --channels BGR --out model',
    'import-model net.pt --network torchscript --side 16 --mean 127.5 --std 128 --out model',
    'import-model model.onnx --name theirs --pixels imagenet --resize fit --background 1,2,3 --side 16 --layout NCHW --output embedding --out model',
    'import-model model.onnx --mean 104,117,123 --std 1 --channels BGR --resize crop --out model',
  ],
  export: 'export model --to onnx --out model.pt --threads 1',
  extract: [
    'extract model --data set --out features --threads 1',
    'extract theirs --data set --out features --threads 1',
  ],
  embed: [
    'embed model photos --out recipe.yaml/photos.npy --threads 1',
    'embed model --list list.jsonl --shard 1/2 --out recipe.yaml/list.parquet --threads 1',
    'embed model --list list.jsonl --shard 1/2 --out list.npy --precision auto --threads 1',
    'embed model s3://bucket/photos --out recipe.yaml/photos.npy --threads 1',
  ],
  'features merge': [
    'features merge photos.npy.shard-1-of-1 --out recipe.yaml/photos.jsonl',
    'features merge s3://bucket/photos.npy.shard-*-of-2 --out recipe.yaml/photos.jsonl',
  ],
  denoise: 'denoise features --out credible --threads 1',
  average: 'average features --out prototypes --threads 1',
  boundaries: 'boundaries features --out prototypes --threads 1',
  'import-features': [
    'import-features features/features.npy --labels features/labels.npy --out features',
    'import-features rows.parquet --vector vector --id name --label person --out features',
  ],
  'adapt fit': [
    'adapt fit --old first --new second --direction query --metric rank-1 --candidates ridge --resamples 10 --out adapter --threads 1',
    'adapt fit --old first --new second --direction query --metric rank-1 --candidates procrustes --blend --resamples 10 --out adapter --threads 1',
  ],
  'adapt apply': 'adapt apply adapter second --out features --threads 1',
  'backfill simulate': [
    'backfill simulate --old first --new second --orders random --merges direct --draws 2 --steps 2 --resamples 10 --out judged --threads 1',
    'backfill simulate --old first --new second --merges calibrated --thresholds features/manifest.json --draws 1 --steps 2 --resamples 10 --out judged --threads 1',
    'backfill simulate --old first --new second+adapter --orders disagreement,labelled-oracle --draws 1 --steps 2 --resamples 10 --out judged --threads 1',
  ],
  'evaluate sets': 'evaluate --old features --new a=features --far 1e-2 --resamples 10 --impostors 50 --out judged',
  'migrate plan': 'migrate plan sqlite:gallery.db#faces --model model --folder photos --threads 1',
  'migrate run': [
    'migrate run sqlite:gallery.db#faces --features second --rate 100 --threads 1',
    'migrate run sqlite:gallery.db#faces --adapter adapter --threads 1',
  ],
  'migrate status': 'migrate status sqlite:gallery.db#faces',
  'migrate pause': 'migrate pause sqlite:gallery.db#faces',
  'migrate resume': 'migrate resume sqlite:gallery.db#faces',
  'migrate verify': 'migrate verify sqlite:gallery.db#faces --sample 3',
  'migrate cut-over': 'migrate cut-over sqlite:gallery.db#faces',
  'migrate rollback': 'migrate rollback sqlite:gallery.db#faces',
  'migrate finish': 'migrate finish sqlite:gallery.db#faces',
  'store load': 'store load features sqlite:recipe.yaml/new.db#faces --data set',
  'store stamp': 'store stamp sqlite:gallery.db#faces --model model',
  'store info': 'store info sqlite:gallery.db#faces',
  search: [
    'search sqlite:gallery.db#faces photos/a/1.pgm --model model --k 3 --fields path --threads 1',
    'search sqlite:gallery.db#faces --features second --rows 0,1 --adapter adapter --threads 1',
  ],
  'evaluate ijb': 'evaluate ijb --data photos --model model --out judged --threads 1',
  'evaluate pack': 'evaluate pack --pack model.pt --model model --out judged --threads 1',
  thresholds: 'thresholds judged --out recipe.yaml/out',
  plan: [
    'plan judged --metric rank-1 --gallery features --images-per-second 9 --require deploy,keep --out recipe.yaml/plan',
    'plan --metric rank-1 --resamples 10 --out recipe.yaml/plan --threads 1 --chain first=first second=second',
  ],
  report: 'report judged',
  log: 'log model --csv',
  watch: 'watch model',
  runs: 'runs model',
  info: 'info features',
  compare: 'compare model model',
  recipes: 'recipes OPclass_ms1mv3_r18_to_r50_MixBCT_softmax_to_arc_f512',
  schema: 'schema recipe',
  setup: 'setup takes no word', // whichever is left out, nothing is built
  doctor: 'doctor',
  completion: 'completion bash',
};

/** Commands that would go on to fetch typefaces. */
const FETCHING = new Set(['quickstart', 'data get']);

const NUMBERS = ['', ' ', '-1', '0', '-0', '1.5', '1e300', '1e9', '-1e300', '999999999999', '9'.repeat(400), 'NaN', 'Infinity', '0x10', '1_000', '１２', 'many', '--', '1;2']; // biome-ignore format: a table
const TEXTS = ['', ' ', '__proto__', 'constructor', 'toString', '=', '=x', 'a=', 'x'.repeat(300), 'x'.repeat(70_000), 'a\nb', '\u001b[31m', 'ä'.repeat(200), '%s%n', '-', '*']; // biome-ignore format: a table
const SETTINGS = ['', '=', 'a', '.=1', 'a..b=1', '__proto__.x=1', 'a.__proto__.x=1', 'constructor.prototype.x=1', 'toString=1', 'network=[', 'network.width={', 'network.width=1e300', 'network.embeddingDim=1e300', 'network.embeddingDim=-1', 'network.embeddingDim=0', 'network.inputSide=1000000000', 'batchSize=0', 'batchSize=1e18', 'epochs=.nan', 'epochs=.inf', 'optimizer.lr=1e400', 'head=null', 'method=[]', 'method.kind=toString', 'method.kind=compose', 'method.of.0.weight=1', 'method={kind: compose, of: 1}', 'method={kind: compose, of: []}', 'method={kind: compose, of: [null]}', 'method={kind: compose, of: [{kind: l2}, {kind: l2}]}', 'method={kind: compose, of: [{kind: compose, of: []}]}', 'method={kind: compose, of: [{kind: l2, scale: 1}]}', 'network.name=__proto__', `a${'.a'.repeat(5000)}=1`, 'title=*x', 'title=&x [*x]', 'seed=-1', `network.width=${'['.repeat(5000)}`, 'stages=1', 'stages.old=null', 'aliases.toString=a', 'preset=neither', 'input=1', 'input.mean=0.5', 'input={mean: 1, std: 0.2}', 'input={pixels: unit, mean: 1, std: 1}', 'input.resize=pad', 'input.background=[1,2,3]', 'input={resize: fit, background: [1e9,0,0]}', 'input.std=[1,1]', 'input.channels=rgb', 'precision=fp8', 'name=1', 'init=1', 'init={}', 'init.from=none', 'init.from=.', 'init.from=model', 'init.from=features', 'init.from=binary', 'init.from=model.pt', 'init.from=model/head.safetensors', 'init={from: model, parts: []}', 'init={from: model, parts: [projection]}', 'init={from: model.pt, parts: [head], partial: true}', 'init={from: model, partial: 3}', 'validation=1', 'validation.every=0', 'validation.early=-1', 'validation.keepBest=1', 'validation.metric=loss', 'validation.gallery=both', 'logs=csv', 'logs=[tensorboard]', 'freeze=[]', 'freeze=layer1', 'freeze=[layr1]', 'freeze=[__proto__]', 'freeze=[""]', 'backboneLr=0', 'backboneLr=-1', 'backboneLr=1e300', 'backboneLr=.nan', 'network.name=torchscript', 'network={name: torchscript, file: net.pt, embeddingDim: 16, inputSide: 16}', 'network={name: torchscript, file: net.pt, embeddingDim: 9, inputSide: 16}', 'network={name: torchscript, file: net.pt, embeddingDim: 16, inputSide: 3}', 'network={name: torchscript, file: model.pt, embeddingDim: 16}', 'network={name: torchscript, file: binary, embeddingDim: 16}', 'network={name: torchscript, file: ., embeddingDim: 16}', 'network={name: torchscript, file: none, embeddingDim: 16}', 'network.file=net.pt', 'network.inputSide=20']; // biome-ignore format: a table

/** Names of what `writeSandbox` puts there that are no good input, or no good input for most commands. */
const PATHS = ['', '.', '/dev/null', 'none', 'none/below', 'recipe.yaml', 'recipe.yaml/below', 'features/features.npy/below', 'x'.repeat(256), `${'x/'.repeat(3000)}x`, 'loop', 'dangling', 'empty', 'empty.file', 'utf16.yaml', 'latin1.yaml', 'bom.yaml', 'bomb.yaml', 'endless.yaml', 'deep.yaml', 'deep.json', 'proto.yaml', 'binary', 'set', 'set.rec', 'set.json', 'photos', 'model', 'model.pt', 'net.pt', 'model.onnx', 'theirs', 'features', 'credible', 'prototypes', 'judged', 'adapter', 'list.jsonl', 'photos.npy.shard-1-of-1', 'model/model.safetensors', 'features/labels.npy', 'a=model', '=', 'toString=features', ' ', 'gallery.db', 'sqlite:gallery.db', 'sqlite:gallery.db#people', 'sqlite:gallery.db#faces?vector=path', 'sqlite:gallery.db#faces?id=none', 'sqlite:binary#faces', 'sqlite:photos#faces', 'sqlite:none.db#faces', 'sqlite:', 'sqlite:#faces', 'sqlite:gallery.db#faces?x=1', 'postgres://ann:secret@', 's3://', 's3://b', 's3:/bucket/x', 's3:///photos', 's3://bucket', 's3://bucket/photos', 's3://bucket/a//b.npy', 's3://bucket/../x.npy', 's3://bucket/x.npy', 's3://user:secret@bucket/x.npy', 'S3://bucket/x.npy', 'gs://bucket/x.npy']; // biome-ignore format: a table

/** Files of the sandbox that are damaged for a case, each with what is given instead of the artefact that it belongs to. */
const DAMAGED = ['recipe.yaml', 'tiny.yaml', 'judged/evaluation.json', 'judged/manifest.json', 'model/manifest.json', 'model/recipe.json', 'model/log.jsonl', 'model/events.jsonl', 'model/model.safetensors', 'features/manifest.json', 'features/features.npy', 'features/labels.npy', 'adapter/manifest.json', 'adapter/adapter.safetensors', 'second/manifest.json', 'credible/manifest.json', 'prototypes/manifest.json', 'set.json', 'set.idx', 'set.ids.jsonl', 'model.pt', 'net.pt', 'model.onnx', 'theirs/model.onnx', 'theirs/manifest.json', 'photos/a/1.pgm', 'list.jsonl', 'rows.parquet', 'photos.npy.shard-1-of-1/manifest.json', 'photos.npy.shard-1-of-1/features.npy', 'photos.npy.shard-1-of-1/ids.jsonl', 'gallery.db']; // biome-ignore format: a table

/** Adds to a folder with `set`, `model`, … what is odd. */
export function writeOddities(folder: string): void {
  const at = (name: string): string => join(folder, name);
  mkdirSync(at('empty'));
  symlinkSync('loop', at('loop'));
  symlinkSync('nowhere', at('dangling'));
  const text = readFileSync(at('recipe.yaml'), 'utf8');
  const lines = ['a: &a [1,1,1,1,1,1,1,1,1]', ...Array.from({ length: 9 }, (_, i) => `${'bcdefghij'[i]}: &${'bcdefghij'[i]} [${new Array(9).fill(`*${'abcdefghi'[i]}`)}]`)]; // biome-ignore format: short
  const files: Readonly<Record<string, string | Buffer>> = {
    'empty.file': '',
    'utf16.yaml': Buffer.from(`\ufeff${text}`, 'utf16le'),
    'latin1.yaml': Buffer.from(`# Größe\n${text}`, 'latin1'),
    'bom.yaml': `\ufeff${text}`,
    'bomb.yaml': lines.join('\n'),
    'endless.yaml': 'a: &a\n  b: *a\n',
    'deep.yaml': '['.repeat(50_000),
    'deep.json': `${'['.repeat(100_000)}${']'.repeat(100_000)}`,
    'proto.yaml': '__proto__: { x: 1 }\n',
    binary: Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167 + 13) % 256)),
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(at(name), content);
}

/** Command by its path, such as `data get`. */
function commandsOf(root: Command, above: readonly string[] = []): [string, Command][] {
  return root.commands.flatMap((one) => {
    const path = [...above, one.name()];
    return one.commands.length > 0 ? commandsOf(one, path) : [[path.join(' '), one] as [string, Command]];
  });
}

/** A random mistake in a command line. `damage(file)` makes a damaged copy of the sandbox's files, and says how. */
export function badCase(root: Command, rng: Rng, damage: (file: string) => string): BadCase {
  const { words, what } = mutatedLine(root, rng, damage);
  // without it, the page would be served for ever
  return { words: words[0] === 'watch' ? [...words, '--json'] : words, what };
}

function mutatedLine(root: Command, rng: Rng, damage: (file: string) => string): BadCase {
  const all = commandsOf(root);
  const [path, command] = pick(rng, all);
  const known = LINES[path];
  const taken = typeof known === 'object' ? pick(rng, known) : known;
  if (taken === undefined) throw new Error(`test/helpers/bad-input.ts has no command line for mixbct ${path}`);
  // half of the lines could go on to their end
  const line =
    rng.integer(2) === 0 || FETCHING.has(path)
      ? taken
      : taken.replace(/ --out \S*?(\.npy|\.jsonl|\.parquet)?(?= |$)/, ` --out ${FRESH}$1`);
  const words = line.split(' ');
  const depth = words[1] !== undefined && path.includes(' ') && words[1] === path.split(' ')[1] ? 2 : 1;
  const valued = command.options.filter((option) => option.required || option.optional);
  switch (rng.integer(9)) {
    case 0: {
      const word = pick(rng, ['--none', '--', '-x', '--force=1', '--json=', pick(rng, TEXTS)]);
      return { words: [...words, word], what: `${JSON.stringify(word.slice(0, 40))} added` };
    }
    case 1: {
      const i = depth + rng.integer(Math.max(1, words.length - depth));
      return { words: words.filter((_, k) => k !== i), what: `word ${i} left out` };
    }
    case 2:
    case 8: {
      // what the command reads: `model` is model/manifest.json and others, `set` is set.idx and others
      const read = DAMAGED.filter((name) => words.map((word) => word.replace(/^[a-z]+:|#.*$/g, '')).some((word) => `${name}/`.startsWith(`${word}/`) || name.startsWith(`${word}.`))); // biome-ignore format: short
      const file = pick(rng, read.length > 0 ? read : DAMAGED);
      return { words, what: damage(file) };
    }
    case 3: {
      const at = words.findIndex((word, i) => i >= depth && !word.startsWith('-'));
      const value = pick(rng, [...PATHS, ...TEXTS]);
      if (at >= 0) return { words: words.map((word, i) => (i === at ? value : word)), what: 'another argument' };
      return { words: [...words, value], what: 'an argument' };
    }
    default: {
      if (valued.length === 0) return { words: [...words, 'more'], what: 'one word too many' };
      const option = pick(rng, valued);
      const value = pick(rng, valuesFor(option));
      const at = words.indexOf(option.long!);
      const changed =
        at >= 0 ? words.map((word, i) => (i === at + 1 ? value : word)) : [...words.slice(0, depth), option.long!, value, ...words.slice(depth)]; // biome-ignore format: short
      return { words: changed, what: `another ${option.long}` };
    }
  }
}

function valuesFor(option: Option): readonly string[] {
  if (option.long === '--set') return SETTINGS;
  if (option.argChoices) return [...TEXTS, ...option.argChoices.map((choice) => choice.toUpperCase())];
  if (option.flags.includes('<numbers>'))
    return [...NUMBERS, '1,2', '1,2,3,4', ',,', '1,2,x', '1;2;3', '0,0,0', '999,1,1'];
  if (/<(n|pixels|share|factor|classes|port)>/.test(option.flags)) return NUMBERS;
  return [...PATHS, ...TEXTS];
}

const pick = <T>(rng: Rng, from: readonly T[]): T => from[rng.integer(from.length)]!;

/** Damages one file in place. → what was done */
export function damageFile(folder: string, file: string, rng: Rng): string {
  const path = join(folder, file);
  const bytes = readFileSync(path);
  const json = /\.(json|jsonl)$/.test(file) && rng.integer(3) > 0;
  const changed = json ? damagedJson(bytes.toString('utf8'), rng) : damagedBytes(bytes, rng);
  writeFileSync(path, changed);
  return `${file} damaged`;
}

function damagedBytes(bytes: Buffer, rng: Rng): Buffer {
  const out = Buffer.from(bytes);
  if (out.length > 0 && rng.integer(3) === 0) return out.subarray(0, rng.integer(out.length));
  for (let changes = 1 + rng.integer(4); changes > 0 && out.length > 0; changes--)
    out[rng.integer(Math.min(out.length, 2000))] = rng.integer(256);
  return out;
}

const STRANGE: readonly unknown[] = [null, true, 0, -1, 1.5, 1e300, 2 ** 53, '', 'text', [], {}, [null], [[]], { a: 1 }, '__proto__', -0.5]; // biome-ignore format: a table

/** One value anywhere in a JSON document (or in one of its lines) is replaced, left out, or doubled. */
function damagedJson(text: string, rng: Rng): string {
  const lines = text.trimEnd().split('\n');
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    const i = rng.integer(lines.length);
    return lines.map((line, k) => (k === i ? JSON.stringify(pick(rng, STRANGE)) : line)).join('\n');
  }
  const places: { readonly holder: Record<string, unknown>; readonly key: string }[] = [];
  const visit = (node: unknown): void => {
    if (node === null || typeof node !== 'object') return;
    for (const [key, child] of Object.entries(node)) {
      places.push({ holder: node as Record<string, unknown>, key });
      visit(child);
    }
  };
  visit(document);
  if (places.length === 0 || rng.integer(20) === 0) return JSON.stringify(pick(rng, STRANGE));
  const { holder, key } = pick(rng, places);
  if (rng.integer(4) === 0) delete holder[key];
  else holder[key] = pick(rng, STRANGE);
  return JSON.stringify(document);
}

/** Every file and link below a folder, with size, time of change and first bytes. */
export function snapshot(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    found.set(path, entry.isFile() ? readFileSync(path, 'latin1') : entry.isDirectory() ? 'folder' : 'other');
  }
  return found;
}

/** Makes a folder as it was when `original` was copied from it. */
export function restore(folder: string, original: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  mkdirSync(dirname(folder), { recursive: true });
  cpSync(original, folder, { recursive: true, verbatimSymlinks: true });
}
