import { UserError } from '../base/errors.ts';
import { native } from './native.ts';

let home = 'cpu';

/** Where tensors are made that are not told where. */
export const homeDevice = (): string => home;

/**
 * Makes `cpu`, `cuda` or `cuda:i` the home of all tensors made from now on: parameters, batches, states. Random numbers with a
 * generator of their own are still drawn on the CPU, so that a seed gives the same weights everywhere.
 * @throws UserError if there is no such device.
 */
export function useDevice(device: string): void {
  const { cuda, cudaDevices, libtorch } = native.build();
  const index = device.match(/^cuda(?::(\d+))?$/);
  if (index && Number(index[1] ?? 0) >= cudaDevices)
    throw new UserError(
      `${device}: ${cuda ? `libtorch finds ${cudaDevices} CUDA devices` : `libtorch ${libtorch} is linked without CUDA`}`,
      {
        hint: cuda
          ? 'start no more processes than there are devices, or see what mixbct doctor finds'
          : 'MIXBCT_LIBTORCH=cuda npm run setup, or set LIBTORCH to a libtorch with CUDA',
      },
    );
  home = device;
}
