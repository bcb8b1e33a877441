import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** A file of golden numbers; each lies beside the script that made it. */
// biome-ignore lint/suspicious/noExplicitAny: each file has a shape of its own, and the test that reads it knows it
export const golden = (name: string): any =>
  JSON.parse(readFileSync(resolve(import.meta.dirname, '../../../test/golden', name), 'utf8'));

/** Golden numbers are printed with ten digits. */
export const PRINTED = 1e-8;
/** Finite differences of float64 losses of order 100: half the digits are left. */
export const DIFFERENCES = 1e-5;
