// Our side of the extract benchmark, and ONNX Runtime's: warms up, then answers `run N` on standard input.
import { createInterface } from 'node:readline';
import { Rng } from '../../src/base/rng.ts';
import { pixelMappings, stretched } from '../../src/data/pixels.ts';
import { backboneEncoder } from '../../src/encoders/index.ts';
import { OnnxSession } from '../../src/encoders/onnx-session.ts';
import { exportedInput } from '../../src/export/onnx-check.ts';
import { encodeOnnx } from '../../src/export/onnx-file.ts';
import { onnxModel } from '../../src/export/onnx-model.ts';
import { makeBackbone } from '../../src/models/index.ts';
import type { Precision } from '../../src/models/precisions.ts';
import { buildInfo, setDefaultDevice, setThreads, threads } from '../../src/torch/index.ts';
import { applyWeightRule } from '../../test/helpers/weights.ts';
import type { ExtractWorkload } from '../extract.ts';

const say = (answer: unknown): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);
const [mode, text] = process.argv.slice(2);
const {
  network,
  dim,
  side,
  batch,
  warmup,
  device = 'cpu',
  precision = mode as Precision,
  threads: wanted,
} = JSON.parse(text!) as ExtractWorkload;
setThreads(wanted);
setDefaultDevice(device);

/** The same bytes as in bench/peer/extract.py. */
const images = Uint8Array.from({ length: batch * side * side * 3 }, (_, k) => 97 * k + Math.floor(k / 1009) * 31);
const mapping = pixelMappings.train;
const backbone = makeBackbone(network, { embeddingDim: dim, inputSide: side }, new Rng(0));
applyWeightRule(backbone);

/** Embeds the batch. */
async function embedder(): Promise<() => Promise<Float32Array>> {
  if (mode === 'onnxruntime') {
    const options = { side, dim, pixels: 'uint8-nhwc', mapping, unitLength: false, half: false, metadata: {} } as const;
    const model = encodeOnnx(onnxModel({ backbone, projection: null }, options));
    const session = await OnnxSession.open(model, 'this benchmark');
    const about = { ...exportedInput('uint8-nhwc', mapping), side, dim };
    return () => session.embed(images, batch, about);
  }
  const own = { name: network, digest: '', preset: 'default', differences: [], trainedOn: null };
  const encoder = backboneEncoder(
    { backbone, projection: null },
    { ...own, space: 'own', dim, side, pixels: mapping, resize: stretched, precision },
  );
  return () => encoder.embed(images, batch);
}

const embed = await embedder();
let rows = await embed();
for (let i = 1; i < warmup; i++) rows = await embed();
const row = (i: number): Float32Array => rows.subarray(i * dim, (i + 1) * dim);
const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, d) => sum + value * b[d]!, 0);
const losses = [1, 2, 3].map((i) => dot(row(0), row(i)) / Math.sqrt(dot(row(0), row(0)) * dot(row(i), row(i))));
say({ torch: buildInfo().libtorch, threads: threads(), losses });
for await (const line of createInterface({ input: process.stdin })) {
  const steps = Number(line.split(' ')[1]);
  const startMs = performance.now();
  for (let i = 0; i < steps; i++) await embed();
  say({ seconds: (performance.now() - startMs) / 1000 });
}
