// The architecture as data, and what breaks it: `node scripts/check-layers.mjs [ROOT]` lists every break and exits 1.
//
// - A file imports no later layer, not even a type, and values only of the layers that its own row names.
// - Files of one folder do not import each other in a circle, types included.
// - What opens without libtorch (report, definitions of artefacts) does not import it, however indirectly.
// - The table of AGENTS.md has these layers and rows.
// - `OptionName` lists the options of the command line, neither more nor fewer: optionHint takes only these, by type.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(process.argv[2] ?? join(dirname(fileURLToPath(import.meta.url)), '..'));

/** Each layer, a folder or a file of src/, and the earlier ones whose values it may import; `null`: all of them. */
const layers = {
  base: [],
  artifacts: ['base'],
  torch: ['base', 'artifacts'],
  launch: ['base', 'artifacts', 'torch'],
  nn: ['base', 'torch'],
  optim: ['base', 'torch'],
  data: ['base', 'artifacts', 'torch'],
  models: ['base', 'torch', 'nn'],
  heads: ['base', 'torch', 'nn'],
  encoders: ['base', 'artifacts', 'torch', 'nn', 'data', 'models'],
  features: ['base', 'artifacts', 'torch', 'data', 'encoders'],
  methods: ['base', 'torch', 'nn'],
  runs: null,
  train: null,
  eval: ['base', 'artifacts', 'torch', 'data', 'encoders', 'features'],
  adapt: ['base', 'artifacts', 'torch', 'nn', 'optim', 'data', 'features', 'eval'],
  backfill: ['base', 'artifacts', 'torch', 'data', 'features', 'eval', 'adapt'],
  stores: ['base', 'artifacts', 'data', 'features'],
  report: ['base', 'artifacts', 'eval', 'backfill'],
  plan: ['base', 'artifacts', 'torch', 'data', 'features', 'eval', 'adapt', 'backfill', 'report'],
  export: null,
  experiment: ['base', 'artifacts', 'data'], // datasets are inputs that are no artefacts
  watch: ['base', 'artifacts', 'runs', 'experiment'],
  stages: null,
  tune: null,
  info: null,
  'index.ts': null,
  cli: null,
};
const order = Object.keys(layers);
/** The only files of data that touch tensors. */
const tensorsInData = ['data/collate.ts', 'data/sampler.ts'];
const opensWithoutTorch = (file) => /^(report|stores|watch)\/|-artifact\.ts$/.test(file);
/** Methods import the contract and shared mathematics, never each other. */
const isMethod = (file) => /^methods\/(?!index\.ts|method\.ts)[^/]+\.ts$/.test(file);
const LINES_OF_A_METHOD = 120;

const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
  .sort();
const texts = new Map(files.map((file) => [file, readFileSync(join(root, 'src', file), 'utf8')]));
const imports = new Map(files.map((file) => [file, importsOf(file)]));
const layerOf = (file) => file.split('/')[0];

/** The files of src/ that a file imports: which, whether only types of it, whether only when it runs. */
function importsOf(file) {
  const statements =
    /^(?:import|export)\s+(type\s)?([^;'"]*?from\s*)?'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'\s*\)(\s*\.\s*[A-Z])?/gm;
  return [...texts.get(file).matchAll(statements)]
    .map(([, type, names = '', fixed, lazy, typeOf]) => ({
      to: posix.join(posix.dirname(file), fixed ?? lazy),
      type: Boolean(type ?? typeOf) || /^\{(\s*type\s[^,}]+,?)+\s*\}/.test(names),
      lazy: lazy !== undefined,
    }))
    .filter(({ to }) => texts.has(to));
}

const breaks = [];
for (const [file, found] of imports) {
  const own = layerOf(file);
  if (!order.includes(own)) {
    breaks.push(`${file}: ${own} is no layer of scripts/check-layers.mjs`);
    continue;
  }
  for (const { to, type } of found) {
    const other = layerOf(to);
    if (other === own || !order.includes(other)) continue;
    const may = layers[own] ?? order;
    if (order.indexOf(other) > order.indexOf(own))
      breaks.push(`${file} → ${to}: ${other} is a later layer${type ? '; move the type' : ''}`);
    else if (!type && !may.includes(other)) breaks.push(`${file} → ${to}: ${own} may not import ${other}`);
    else if (!type && own === 'data' && other === 'torch' && !tensorsInData.includes(file))
      breaks.push(`${file} → ${to}: of data only ${tensorsInData.join(' and ')} touch tensors`);
  }
  if (isMethod(file)) {
    for (const { to } of found) if (isMethod(to)) breaks.push(`${file} → ${to}: a method imports no other method`);
    const lines = texts.get(file).split('\n').length - 1;
    if (lines > LINES_OF_A_METHOD) breaks.push(`${file} has ${lines} lines, more than ${LINES_OF_A_METHOD}`);
  }
  if (opensWithoutTorch(file)) {
    const path = pathToTorch(file);
    if (path && !opensWithoutTorch(path[1])) breaks.push(`${path.join(' → ')}: ${file} opens without libtorch`);
  }
}
for (const circle of circles()) breaks.push(`${circle.join(' ↔ ')}: files import each other in a circle`);
breaks.push(...optionBreaks(), ...tableBreaks());

if (breaks.length > 0) {
  process.stderr.write(
    `What breaks the architecture (see AGENTS.md):\n${breaks.map((line) => `  ${line}\n`).join('')}`,
  );
  process.exit(1);
}

/** The chain of imports at load time from a file to libtorch's addon, or null. */
function pathToTorch(from) {
  const paths = new Map([[from, [from]]]);
  for (const [file, path] of paths)
    for (const { to, type, lazy } of imports.get(file)) {
      if (type || lazy || paths.has(to)) continue;
      if (to === 'torch/native.ts') return [...path, to];
      paths.set(to, [...path, to]);
    }
  return null;
}

/** Sets of two or more files of one layer that import each other: strongly connected components, by Tarjan's algorithm. */
function circles() {
  const [index, low, stack, found] = [new Map(), new Map(), [], []];
  const visit = (file) => {
    index.set(file, index.size);
    low.set(file, index.get(file));
    stack.push(file);
    for (const { to } of imports.get(file).filter(({ to }) => layerOf(to) === layerOf(file))) {
      if (!index.has(to)) visit(to);
      if (stack.includes(to)) low.set(file, Math.min(low.get(file), low.get(to)));
    }
    if (low.get(file) !== index.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const file of files) if (!index.has(file)) visit(file);
  return found;
}

/** Options that the command line has and `OptionName` lacks, or the other way round. */
function optionBreaks() {
  const list = 'base/option-name.ts';
  const declared = new Set();
  for (const [file, text] of texts)
    if (layerOf(file) === 'cli')
      for (const [, name] of text.matchAll(/(?<!includes|optionHint)\(\s*['"`](?:-\w, )?(--[a-z][a-z0-9-]*)/g))
        declared.add(name);
  const listed = new Set(texts.get(list)?.match(/(?<=')--[a-z0-9-]+(?=')/g));
  return [
    ...[...declared]
      .filter((name) => !listed.has(name))
      .map((name) => `${list} lacks ${name}, an option of the command line`),
    ...[...listed].filter((name) => !declared.has(name)).map((name) => `${list} has ${name}, which no command has`),
  ];
}

/** Where the table of AGENTS.md differs from `layers`. */
function tableBreaks() {
  const rows = readFileSync(join(root, 'AGENTS.md'), 'utf8').matchAll(/^\| (`[^|]+`) \| ([^|(]+?)(?: \([^|]*)? \|/gm);
  const told = [...rows].flatMap(([, names, may]) => names.split(', ').map((name) => `${name.slice(1, -1)}: ${may}`));
  const wanted = order.map((layer) => `${layer}: ${layers[layer]?.join(', ').replace(/^$/, '–') ?? 'all before'}`);
  return [
    ...wanted.filter((row) => !told.includes(row)).map((row) => `AGENTS.md lacks the row of ${row}`),
    ...told.filter((row) => !wanted.includes(row)).map((row) => `AGENTS.md has a row that is no layer's: ${row}`),
  ];
}
