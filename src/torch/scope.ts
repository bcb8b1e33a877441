import { native } from './native.ts';
import { isTensor } from './tensor.ts';
import type { Tensor } from './tensor-types.ts';

/**
 * Runs `body` and frees every tensor made inside, except those in the plain object, array or tensor that it returns. These belong
 * to the surrounding scope. If `body` throws, all are freed.
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

/** Removes a tensor from its scope. It lives until `dispose()`. */
export const keep = (x: Tensor): Tensor => native.keep(x);

/** Number of live tensor handles. It is constant over the steps of a loop without leaks. */
export const liveTensors = (): number => native.liveTensors();
