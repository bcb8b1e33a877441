import type { Aten } from './aten.gen.ts';
import { native } from './native.ts';

type Call = (...args: readonly unknown[]) => unknown;

/**
 * All of ATen, by schema name (`add.Tensor`, `topk`). Positional arguments in order, keyword-only ones in one options
 * object at the end. An operator is looked up at its first use.
 *
 * @throws Error naming the operator and the shapes of its arguments, when libtorch refuses them.
 */
export const aten: Aten = new Proxy({} as Record<string, Call>, {
  get(known, name: string): Call {
    const made = known[name];
    if (made) return made;
    const index = lookUp(name);
    const call: Call = (...args) => native.call(index, ...args);
    known[name] = call;
    return call;
  },
}) as unknown as Aten;

function lookUp(name: string): number {
  const [base = '', overload = ''] = name.split('.');
  const index = native.op(base, overload);
  if (index >= 0) return index;
  throw new Error(`libtorch ${native.build().libtorch} has no operator aten::${name}`);
}
