import { availableParallelism, cpus, totalmem } from 'node:os';
import type { Command } from 'commander';
import { messageOf } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { command, print } from './context.ts';

export function doctorCommand(): Command {
  return command('doctor', 'tell what this installation found and can do', 'mixbct doctor --json').action(
    async (options) => {
      const found = await examine();
      const width = Math.max(...Object.keys(found).map((key) => key.length));
      print(
        options,
        found,
        Object.entries(found)
          .map(([key, value]) => `${key.padEnd(width)}  ${String(value)}`)
          .join('\n'),
      );
    },
  );
}

type Found = Record<string, string | number | boolean>;

/** A part that is not built or does not load is told as such, in the exit code too: saying so is what this command is for. */
async function examine(): Promise<Found> {
  return {
    mixbct: version,
    node: process.version,
    ...(await orMissing('libtorch', examineTorch)),
    processor: `${cpus()[0]?.model ?? 'unknown'} (${availableParallelism()} threads)`,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GB`,
    ...(await orMissing('JPEG decoder', examineImages)),
  };
}

async function orMissing(part: string, look: () => Promise<Found>): Promise<Found> {
  try {
    return await look();
  } catch (error) {
    process.exitCode = 2;
    return { [part]: `missing: ${messageOf(error).replace(/\s*\n\s*/g, ' ')}` };
  }
}

async function examineTorch(): Promise<Found> {
  const { allocatorStats, bf16Instructions, buildInfo, hasNccl, libtorchOrigin, threads } = await import(
    '../torch/index.ts'
  );
  const info = buildInfo();
  const built = libtorchOrigin();
  const blas = /BLAS_INFO=(\w+)/.exec(info.config)?.[1] ?? (info.mkl ? 'mkl' : 'system');
  const capability = /CPU capability usage: (\w+)/.exec(info.config)?.[1] ?? 'unknown';
  const distributed = [info.gloo && 'gloo', hasNccl() && 'nccl', info.mpi && 'mpi'].filter(Boolean);
  const allocator = allocatorStats();
  return {
    libtorch: info.libtorch,
    'libtorch origin': built.origin,
    'libtorch folder': built.lib,
    blas,
    oneDNN: info.onednn,
    OpenMP: info.openmp,
    'CPU instructions': capability,
    'bf16 instructions': bf16Instructions().join(', ') || 'none (precision bf16 is slower than float32 here)',
    'compute threads': threads(),
    devices: ['cpu', ...Array.from({ length: info.cudaDevices }, (_, i) => `cuda:${i}`)].join(', '),
    'CUDA build': info.cuda,
    'distributed back-ends': distributed.length > 0 ? distributed.join(', ') : 'none',
    'caching allocator': allocator.installed
      ? `on, keeps at most ${(allocator.boundBytes / 2 ** 30).toFixed(1)} GB`
      : 'off',
  };
}

async function examineImages(): Promise<Found> {
  const { nativeImage } = await import('../data/native-image.ts');
  return {
    'JPEG decoder': nativeImage.decodeJpeg
      ? 'libturbojpeg'
      : 'portable (install libturbojpeg0-dev and run npm run setup for 2.5 times the speed)',
  };
}
