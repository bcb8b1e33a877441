import type { About } from '../artifacts/description.ts';

/** What stands at a path. */
export type Description = About & {
  readonly path: string;
  /** `kind` of its manifest; or `dataset`, or `experiment`. */
  readonly kind: string;
  /** What people call it, without an article. */
  readonly name: string;
  readonly madeBy: { readonly command: string; readonly mixbct: string } | null;
  /** Size on disk. */
  readonly bytes: number;
  readonly files: number;
};
