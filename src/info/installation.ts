import { availableParallelism, cpus, totalmem } from 'node:os';
import { setupCommand } from '../base/addon.ts';
import { messageOf } from '../base/errors.ts';
import { version } from '../base/version.ts';
import { loadOnnxRuntime } from '../encoders/onnx-runtime.ts';

type Found = Record<string, string | number | boolean>;

/** What this installation has and can do. A part that is not built or does not load is listed as missing. */
export async function describeInstallation(): Promise<{ readonly found: Found; readonly complete: boolean }> {
  let complete = true;
  const orMissing = async (part: string, look: () => Promise<Found>): Promise<Found> => {
    try {
      return await look();
    } catch (error) {
      complete = false;
      return { [part]: `missing: ${messageOf(error).replace(/\s*\n\s*/g, ' ')}` };
    }
  };
  const found = {
    mixbct: version,
    node: process.version,
    ...(await orMissing('libtorch', examineTorch)),
    processor: `${cpus()[0]?.model ?? 'unknown'} (${availableParallelism()} threads)`,
    memory: `${(totalmem() / 2 ** 30).toFixed(1)} GB`,
    ...(await orMissing('JPEG decoder', examineImages)),
    'ONNX Runtime': await onnxRuntime(),
  };
  return { found, complete };
}

/** An optional package: an installation without it is complete. */
async function onnxRuntime(): Promise<string> {
  try {
    const { env } = await loadOnnxRuntime('mixbct export --check');
    return env.versions.node ?? 'unknown version';
  } catch (error) {
    return messageOf(error).replace(/\s*\n\s*/g, '; ');
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
      : `portable (install libturbojpeg0-dev and run ${setupCommand} for 2.5 times the speed)`,
  };
}
