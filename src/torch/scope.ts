import { native } from './native.ts';
import { isTensor } from './tensor.ts';
import type { Tensor } from './tensor-types.ts';

/**
 * Runs `body`; every tensor made inside is freed at its end, except those in the plain object, array or tensor it
 * returns, which the scope around adopts. If `body` throws, all are freed.
 *
 * @throws TypeError if `body` returns a promise: a scope ends when the function does.
 */
export function scope<T>(body: () => T): T {
  native.scopeOpen();
  const kept: Tensor[] = [];
  try {
    const result = body();
    if (result instanceof Promise) throw new TypeError('scope: the body must be synchronous, it returned a promise');
    collect(result, kept);
    return result;
  } finally {
    native.scopeClose(kept);
  }
}

function collect(value: unknown, into: Tensor[]): void {
  if (isTensor(value)) into.push(value);
  else if (Array.isArray(value)) for (const element of value) collect(element, into);
  else if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    for (const element of Object.values(value)) collect(element, into);
}

/** Takes a tensor out of every scope: it lives until `dispose()`. */
export const keep = (x: Tensor): Tensor => native.keep(x);

/** How many tensor handles are alive: flat over the steps of a healthy loop. */
export const liveTensors = (): number => native.liveTensors();
