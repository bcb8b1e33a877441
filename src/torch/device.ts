import { setupCommand } from '../base/addon.ts';
import { UserError } from '../base/errors.ts';
import { native } from './native.ts';

let home = 'cpu';

/** Default device of new tensors. */
export const defaultDevice = (): string => home;

/**
 * Sets the default device of new tensors: `cpu`, `cuda` or `cuda:i`. Seeded random numbers are still drawn on the CPU, so that a
 * seed gives the same weights on every device.
 * @throws UserError if there is no such device.
 */
export function setDefaultDevice(device: string): void {
  const { cuda, cudaDevices, libtorch } = native.build();
  const index = device.match(/^cuda(?::(\d+))?$/);
  if (index && Number(index[1] ?? 0) >= cudaDevices)
    throw new UserError(
      `${device}: ${cuda ? `libtorch finds ${cudaDevices} CUDA devices` : `libtorch ${libtorch} is linked without CUDA`}`,
      {
        hint: cuda
          ? 'start no more processes than there are devices, or see what mixbct doctor finds'
          : `MIXBCT_LIBTORCH=cuda ${setupCommand}, or set LIBTORCH to a libtorch with CUDA`,
      },
    );
  home = device;
}
