import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { UserError } from '../src/base/errors.ts';
import { libtorchOrigin } from '../src/torch/index.ts';
import { tell } from './bench.ts';

/** The Python that has PyTorch: `$MIXBCT_PYTHON`, else `python3`. @throws UserError if it cannot import torch. */
export function findPython(): string {
  const { python, version } = findModule('torch', 'PyTorch');
  const { version: own } = libtorchOrigin();
  tell(`peer: PyTorch ${version}; ours: libtorch ${own}`);
  if (version.split('+')[0] !== own.split('+')[0])
    tell('note: these are different releases, so the ratio compares more than the two programs');
  return python;
}

/** The Python that has NumPy: `$MIXBCT_PYTHON`, else `python3`. @throws UserError if it cannot import numpy. */
export function findNumpy(): string {
  const { python, version } = findModule('numpy', 'NumPy');
  tell(`peer: NumPy ${version}`);
  return python;
}

/** @throws UserError if the Python that is to be used cannot import `module`. */
function findModule(module: string, called: string): { readonly python: string; readonly version: string } {
  const python = process.env['MIXBCT_PYTHON'] ?? 'python3';
  const { status, stdout, stderr, error } = spawnSync(
    python,
    ['-c', `import ${module}; print(${module}.__version__)`],
    { encoding: 'utf8' },
  );
  if (status !== 0)
    throw new UserError(
      `this benchmark compares with ${called}, and ${python} has none (${error?.message ?? stderr.trim().split('\n').at(-1)})`,
      {
        hint: `set MIXBCT_PYTHON to a Python that can import ${module}, or PYTHONPATH to where ${module} is`,
      },
    );
  return { python, version: stdout.trim() };
}

/** A script of bench/peer. */
export const peerScript = (name: string): string => resolve(import.meta.dirname, '../../bench/peer', name);

/** jemalloc, as an expert would preload it: `$MIXBCT_JEMALLOC`, or what the dynamic linker knows. */
export function findJemalloc(): string | null {
  const named = process.env['MIXBCT_JEMALLOC'];
  if (named !== undefined) {
    if (!existsSync(named)) throw new UserError(`MIXBCT_JEMALLOC=${named}: there is no such file`);
    return named;
  }
  const { stdout } = spawnSync('/sbin/ldconfig', ['-p'], { encoding: 'utf8' });
  return stdout?.match(/libjemalloc\.so\.2 .*=> (\S+)/)?.[1] ?? null;
}
