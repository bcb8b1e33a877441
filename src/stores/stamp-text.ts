import type { Stamp } from './stamp.ts';

/** A stamp for a person: `r50 (digest 0123456789abcdef), 128 dimensions`. */
export function stampText({ model, dim, adapter }: Stamp): string {
  const through = adapter ? `, through an adapter for the ${adapter.direction}` : '';
  return `${model.name} (digest ${model.digest}), ${dim} dimensions${through}`;
}
