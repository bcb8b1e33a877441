import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { Rng } from '../src/base/rng.ts';
import { type Bench, measured, median, tell } from './bench.ts';
import { type CommandCost, commandCost } from './command-cost.ts';
import { writeImageSet } from './image-set.ts';
import { benchFolder } from './room.ts';

/** Peak memory with all images over that with a tenth of them, medians of processes of their own. */
const BAR = 1.02;
/** Processes of each size, at most: the large ones take minutes. */
const MOST_RUNS = 3;
const [SIDE, CLASSES, DRAWN] = [32, 1000, 256];
/** Images that a model is trained on for a moment: one is needed, whatever it knows. */
const TRAINED = 512;

const recipe = `network: { name: r18, embeddingDim: 128, inputSide: ${SIDE} }
head: { kind: softmax }
optimizer: { kind: sgd, lr: 0.01 }
batchSize: 64
epochs: 1
`;

/** Whether extraction holds its memory, however many images there are. */
export const extractMemory: Bench = {
  summary: 'most memory of extract over 100,000 images, against 10,000',
  async run({ runs, small }) {
    const count = small ? 20_000 : 100_000;
    const folder = mkdtempSync(join(benchFolder(5e8), 'mixbct-bench-'));
    try {
      const at = (name: string): string => join(folder, name);
      const images = await drawImages();
      for (const [name, size] of [['trained', TRAINED], ['tenth', count / 10], ['all', count]] as const) // biome-ignore format: short
        await writeImageSet(at(name), images, { count: size, classes: Math.min(CLASSES, size / 8) });
      writeFileSync(at('recipe.yaml'), recipe);
      commandCost(folder, ['train', at('recipe.yaml'), '--data', at('trained'), '--out', at('run')]);
      const extract = (name: string): CommandCost => {
        const cost = commandCost(folder, [
          'extract',
          at('run'),
          '--data',
          at(name),
          '--out',
          at(`${name}-features`),
          '--force',
        ]);
        tell(
          `  ${name.padEnd(5)} ${cost.seconds.toFixed(0)} s, ${cost.cpuSeconds.toFixed(0)} CPU-s, ${cost.peakMb.toFixed(0)} MB`,
        );
        return cost;
      };
      const costs = { tenth: [] as CommandCost[], all: [] as CommandCost[] };
      for (let run = 0; run < Math.min(runs, MOST_RUNS); run++)
        for (const name of ['tenth', 'all'] as const) costs[name].push(extract(name));
      const peak = (name: keyof typeof costs): number => median(costs[name].map(({ peakMb }) => peakMb));
      const result = measured(peak('all') / peak('tenth'), BAR, 'lower');
      tell(`  ${result.ratio.toFixed(3)}× the memory for ${count} images; bar ${BAR}: ${result.ok ? 'met' : 'MISSED'}`);
      return { ...result, images: count, ...costs };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function drawImages(): Promise<Buffer[]> {
  const rng = new Rng('bench');
  const raw = { width: SIDE, height: SIDE, channels: 3 as const };
  const images: Buffer[] = [];
  for (let i = 0; i < DRAWN; i++) {
    const pixels = Uint8Array.from({ length: SIDE * SIDE * 3 }, () => rng.integer(256));
    images.push(await sharp(pixels, { raw }).jpeg().toBuffer());
  }
  return images;
}
