import { resolve } from 'node:path';
import type { BackboneName } from '../src/models/index.ts';
import type { Precision } from '../src/models/precisions.ts';
import { bf16Instructions } from '../src/torch/index.ts';
import { type Bench, type BenchOptions, type Measured, measured, median, tell, worst } from './bench.ts';
import { alternate, type Command, Contender, ContenderFailed, requireSameWork, speedup } from './contender.ts';
import { compareOnDevice } from './device.ts';
import { findPython, peerScript } from './python.ts';

/** A batch that is embedded again and again, described to bench/ours/extract.ts and bench/peer/extract.py alike. */
export type ExtractWorkload = {
  readonly network: BackboneName;
  /** Where it computes; default: cpu. */
  readonly device?: string;
  /** Default: what the mode says. */
  readonly precision?: Precision;
  /** D */
  readonly dim: number;
  /** Height and width of the images, in pixels. */
  readonly side: number;
  /** B */
  readonly batch: number;
  readonly threads: number;
  /** Batches before the first measurement. */
  readonly warmup: number;
};

const networks: readonly BackboneName[] = ['r18', 'r50', 'mbf', 'vit_t'];
const workload = { dim: 512, side: 112, batch: 32, threads: 2, warmup: 2 };

/** What we are compared with, and how many times faster we are to be. */
const peers = [
  { mode: 'eager', name: 'PyTorch eager', bar: 1.3 },
  { mode: 'tuned', name: 'PyTorch channels-last', bar: 1.0 },
  { mode: 'compiled', name: 'torch.compile with freezing', bar: 1.0 },
  { mode: 'onnxruntime', name: 'ONNX Runtime', bar: 1.0 },
] as const;

/** Embedding as `extract` does it, from bytes to embeddings, in float32; and in bf16 where the processor has instructions for it. */
export const extract: Bench = {
  summary: 'embedding by r18, r50, mbf and vit_t at 112×112 against PyTorch and ONNX Runtime',
  async run({ runs, small, device }) {
    const python = findPython();
    if (device !== 'cpu') return extractOnDevice(python, { runs, small, device });
    const results: Record<string, Measured & { readonly secondsPerImage: object }> = {};
    const skipped: Record<string, string> = {};
    const compare = async (what: string, ours: Contender, start: () => Promise<Contender>, bar: number) => {
      try {
        await using peer = await start();
        if (ours.name === 'mixbct') requireSameWork(ours, peer);
        const pairs = await alternate(ours, peer, { runs, steps: 1 });
        const perImage = (seconds: readonly number[]): number => median(seconds) / workload.batch;
        const secondsPerImage = { ours: perImage(pairs.ours), peer: perImage(pairs.peer) };
        results[what] = { ...measured(speedup(pairs), bar, 'higher'), secondsPerImage };
        tell(`  ${results[what].ratio.toFixed(2)}×  ${what}; bar ${bar}: ${results[what].ok ? 'met' : 'MISSED'}`);
      } catch (error) {
        if (!(error instanceof ContenderFailed)) throw error;
        skipped[what] = error.message;
        tell(`SKIPPED ${what}: ${error.message}`);
      }
    };
    for (const network of small ? (['r18', 'mbf'] as const) : networks) {
      const work = { ...workload, network };
      const own = (mode: string, name: string) => start(name, process.execPath, ours, mode, work);
      tell(`${network} ${work.side}×${work.side}, B ${work.batch}, ${work.threads} threads`);
      await using float = await own('float32', 'mixbct');
      for (const { mode, name, bar } of peers)
        await compare(
          `${network}, ${name}`,
          float,
          () => (mode === 'onnxruntime' ? own(mode, name) : start(name, python, peer, mode, work)),
          bar,
        );
      if (bf16Instructions().length === 0) {
        skipped[`${network}, bf16`] = 'this processor has no instructions for it';
        continue;
      }
      await using half = await own('bf16', 'mixbct bf16');
      await compare(`${network}, bf16 against float32`, half, () => own('float32', 'mixbct float32'), 1.8);
      await compare(`${network}, bf16, PyTorch`, half, () => start('PyTorch bf16', python, peer, 'bf16', work), 1.0);
    }
    return { ...worst(Object.values(results)), workload, runs, results, skipped };
  },
};

const ours = resolve(import.meta.dirname, 'ours/extract.js');
const peer = peerScript('extract.py');
const start = (
  name: string,
  program: string,
  script: string,
  mode: string,
  work: ExtractWorkload,
): Promise<Contender> => Contender.start(commandOf(name, program, script, mode, work));

const commandOf = (name: string, program: string, script: string, mode: string, work: ExtractWorkload): Command => ({
  name,
  program,
  args: [script, mode, JSON.stringify(work)],
  env: { OMP_NUM_THREADS: String(work.threads) },
});

/** On a graphics processor: iresnet50, batch 256, in each precision. */
async function extractOnDevice(python: string, { runs, small, device }: BenchOptions) {
  const work = { ...workload, network: small ? 'r18' : 'r50', batch: small ? 32 : 256, threads: 4, device } as const;
  tell(`${work.network} ${work.side}×${work.side}, B ${work.batch}, on ${device}`);
  const found = await compareOnDevice(
    [
      { mode: 'tuned', name: 'PyTorch eager (channels-last)' },
      { mode: 'compiled', name: 'torch.compile (channels-last)' },
    ] as const,
    {
      runs,
      steps: 10,
      ours: (precision) => commandOf('mixbct', process.execPath, ours, precision, { ...work, precision }),
      peerOf: ({ mode, name }, precision) => commandOf(name, python, peer, mode, { ...work, precision }),
    },
  );
  return { ...worst(found.rows), workload: work, runs, ...found };
}
