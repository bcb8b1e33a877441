import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import jpegTurbo from '@cwasm/jpeg-turbo';
import sharp from 'sharp';
import { Rng } from '../src/base/rng.ts';
import { type Dataset, Loader, openDataset, shuffledOrder } from '../src/data/index.ts';
import { nativeImage } from '../src/data/native-image.ts';
import { parseRecipe } from '../src/runs/load-recipe.ts';
import { setThreads } from '../src/torch/index.ts';
import { noOldModelInputs } from '../src/train/old-model-inputs.ts';
import { disposeSession, openSession } from '../src/train/session.ts';
import { trainStep } from '../src/train/train-step.ts';
import { type Bench, measured, median, tell } from './bench.ts';
import { writeImageSet } from './image-set.ts';

/** Share of a step's time that training may stand still for data. */
const WAIT_BAR = 0.03;
/** JPEG images of 112 × 112 decoded by one core in a second. */
const DECODE_BAR = 7000;
const [SIDE, IMAGES, CLASSES, BATCH, STEPS, WARMUP] = [112, 1024, 64, 32, 12, 3];
const QUALITY = 95;

/** How fast images come, and whether training ever waits for them. */
export const loader: Bench = {
  summary: 'JPEG to batches: images a second, and the share of time that training waits for data',
  async run({ runs }) {
    const folder = mkdtempSync(join(tmpdir(), 'mixbct-bench-'));
    try {
      const images = await writeImages(join(folder, 'set'));
      const bytes = images.reduce((sum, image) => sum + image.length, 0) / images.length;
      tell(`${IMAGES} JPEG images of ${SIDE}×${SIDE}, ${bytes.toFixed(0)} bytes each on average`);
      const decode = decodeRates(images, runs);
      using dataset = openDataset(join(folder, 'set'));
      const alone = median(await inTurn(runs, () => loaderRate(dataset)));
      tell(`  loader, one worker, flips and affine changes, nothing else running: ${alone.toFixed(0)} images/s`);
      const waits = await inTurn(Math.min(runs, 3), () => waitShare(dataset));
      const share = median(waits);
      tell(
        `  training iresnet18 ${SIDE}×${SIDE} B ${BATCH} waits ${(100 * share).toFixed(2)} % of the time; bar ${100 * WAIT_BAR} %`,
      );
      const result = measured(share, WAIT_BAR, 'lower');
      return {
        ...result,
        ok: result.ok && decode.ours >= DECODE_BAR,
        decode,
        decodeBar: DECODE_BAR,
        loaderImagesPerSecond: alone,
        jpegBytes: bytes,
        runs,
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function inTurn(runs: number, body: () => Promise<number>): Promise<number[]> {
  const results: number[] = [];
  for (let run = 0; run < runs; run++) results.push(await body());
  return results;
}

/** Smooth shapes with grain: about as many bytes as a photograph of a face at this size and quality. */
async function writeImages(prefix: string): Promise<Buffer[]> {
  const rng = new Rng('bench');
  const raw = { width: SIDE, height: SIDE, channels: 3 as const };
  const images: Buffer[] = [];
  for (let i = 0; i < IMAGES; i++) {
    const [a, b, c] = [rng.uniform() * 0.2, rng.uniform() * 0.2, rng.uniform() * 6];
    const pixels = Uint8Array.from({ length: SIDE * SIDE * 3 }, (_, k) => {
      const [x, y] = [Math.floor(k / 3) % SIDE, Math.floor(k / 3 / SIDE)];
      return 128 + 80 * Math.sin(a * x + b * y + c + (k % 3)) + 24 * (rng.uniform() - 0.5);
    });
    images.push(await sharp(pixels, { raw }).jpeg({ quality: QUALITY }).toBuffer());
  }
  await writeImageSet(prefix, images, { classes: CLASSES });
  return images;
}

/** Images a second on one core: the addon against the portable decoder, in turn. */
function decodeRates(images: readonly Buffer[], runs: number): { ours: number; portable: number; ratio: number } {
  const target = new Uint8Array(SIDE * SIDE * 3);
  const rate = (decode: (image: Buffer) => void): number => {
    const start = performance.now();
    for (const image of images) decode(image);
    return (images.length / (performance.now() - start)) * 1000;
  };
  const native = nativeImage.decodeJpeg?.bind(nativeImage);
  if (!native) tell('  libturbojpeg is not there: the portable decoder is measured twice');
  const [ours, portable]: [number[], number[]] = [[], []];
  for (let run = 0; run <= runs; run++) {
    const pair = [
      rate((image) => (native ? native(image, target, 0, target.length) : jpegTurbo.decode(image))),
      rate((image) => jpegTurbo.decode(image)),
    ];
    if (run === 0) continue; // the first warms up
    ours.push(pair[0]!);
    portable.push(pair[1]!);
  }
  const ratio = median(ours.map((value, i) => value / portable[i]!));
  tell(
    `  decode on one core: ${median(ours).toFixed(0)} images/s, ${ratio.toFixed(2)}× @cwasm/jpeg-turbo; bar ${DECODE_BAR}`,
  );
  return { ours: median(ours), portable: median(portable), ratio };
}

const epochOf = (dataset: Dataset) => ({
  batchSize: BATCH,
  imageSide: SIDE,
  order: shuffledOrder(dataset.size, 0),
  dropLast: true,
  augment: { flip: true, rotateDeg: 5, scale: 0.1, shift: 0.05 },
  seed: 1,
});

async function loaderRate(dataset: Dataset): Promise<number> {
  await using batches = new Loader(dataset, { workers: 1 });
  let [start, images] = [0, 0];
  for await (const batch of batches.epoch(epochOf(dataset))) {
    if (start === 0)
      start = performance.now(); // the first batch pays for starting the thread
    else images += batch.labels.length;
    batch[Symbol.dispose]();
  }
  return (images / (performance.now() - start)) * 1000;
}

async function waitShare(dataset: Dataset): Promise<number> {
  setThreads(2);
  const recipe = parseRecipe({ network: { name: 'r18', embeddingDim: 512 }, batchSize: BATCH }, 'bench');
  const session = openSession(recipe, CLASSES, new Rng(1));
  await using batches = new Loader(dataset, { workers: 1 });
  const at = {
    progress: 0,
    epoch: 0,
    epochs: 1,
    rng: new Rng(1),
    count: () => undefined,
    lr: 0.01,
    clipNorm: 5,
    side: SIDE,
  };
  let [start, waited, step] = [0, 0, 0];
  for await (const batch of batches.epoch(epochOf(dataset))) {
    if (step === WARMUP) start = performance.now();
    if (step > WARMUP) waited += batch.waitedMs;
    trainStep(session, batch, noOldModelInputs, at);
    batch[Symbol.dispose]();
    if (++step > WARMUP + STEPS) break;
  }
  const share = waited / (performance.now() - start);
  disposeSession(session);
  return share;
}
