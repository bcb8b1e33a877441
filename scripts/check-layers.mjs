// The architecture as data: which layer of src/ may import which. Type-only imports are free.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = resolve(dirname(fileURLToPath(import.meta.url)), '../src');
const order = [
  'base',
  'artifacts',
  'torch',
  'nn',
  'optim',
  'data',
  'models',
  'heads',
  'encoders',
  'features',
  'methods',
  'runs',
  'train',
  'eval',
  'report',
];
const before = (layer) => order.slice(0, order.indexOf(layer));
const allowed = {
  base: [],
  artifacts: ['base'],
  torch: before('torch'),
  nn: ['base', 'torch'],
  optim: ['base', 'torch'],
  data: ['base', 'artifacts', 'torch'],
  models: ['base', 'torch', 'nn'],
  heads: ['base', 'torch', 'nn'],
  encoders: ['base', 'artifacts', 'torch', 'nn', 'data', 'models'],
  features: ['base', 'artifacts', 'torch', 'data', 'encoders'],
  methods: ['base', 'torch', 'nn'],
  runs: before('runs'),
  train: before('train'),
  eval: ['base', 'artifacts', 'torch', 'features'],
  report: ['base'],
};
const torchInData = new Set(['collate.ts', 'sampler.ts']); // the only files of data that touch tensors
// methods import the contract and shared mathematics, never each other
const isSharedByMethods = (path) =>
  path === './method.ts' ||
  path === '../method.ts' ||
  path.startsWith('./parts/') ||
  path.startsWith('../../') ||
  !/^\.\/|^\.\.\/[a-z0-9]+\.ts$/.test(path);

/** A method is a small file; method.ts is the contract of all. */
const LINES_OF_A_METHOD = 120;

const breaks = [];
for (const [layer, may] of Object.entries(allowed)) {
  if (!existsSync(join(source, layer))) continue;
  for (const file of readdirSync(join(source, layer), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
    const text = readFileSync(join(source, layer, file), 'utf8');
    const lines = text.split('\n').length - 1;
    if (layer === 'methods' && file !== 'method.ts' && lines > LINES_OF_A_METHOD)
      breaks.push(`methods/${file} has ${lines} lines, more than ${LINES_OF_A_METHOD}`);
    const imports = [...text.matchAll(/^(?:import|export) (?!type\b)[^;'"]*'([^']+)'/gm)].map(([, path]) => path);
    for (const path of imports) {
      const target = path.match(/^(?:\.\.\/)+(\w+)\//)?.[1];
      if (target && target in allowed && target !== layer && !may.includes(target))
        breaks.push(`${layer}/${file} → ${target}`);
      if (layer === 'data' && target === 'torch' && !torchInData.has(file)) breaks.push(`data/${file} → torch`);
      if (layer === 'methods' && file !== 'index.ts' && !isSharedByMethods(path))
        breaks.push(`methods/${file} → ${path}`);
      if (target === 'cli') breaks.push(`${layer}/${file} → cli`);
    }
  }
}
if (breaks.length > 0) {
  process.stderr.write(
    `What breaks the architecture (see AGENTS.md):\n${breaks.map((line) => `  ${line}\n`).join('')}`,
  );
  process.exit(1);
}
