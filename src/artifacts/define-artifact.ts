import { existsSync, readdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import type { z } from 'zod';
import { FileError } from '../base/errors.ts';
import { Optional, type Shape, shapeMismatch } from '../base/shape.ts';
import { version as mixbct } from '../base/version.ts';
import { requireDigest } from './cached-digest.ts';
import type { About } from './description.ts';
import { readJson } from './json-file.ts';
import { MANIFEST, manifestAt } from './manifest.ts';
import { claimOutput, type OverwriteOptions, realPath } from './output-claim.ts';
import type { OutputLock } from './output-lock.ts';
import { type ArtifactOptions, contentName, outputKindOf, writeArtifact } from './write-artifact.ts';

/** Checks the fields of a manifest: → the fields, with the defaults of those that are missing, or what is wrong with them. */
export type FieldsCheck<F> = (raw: unknown) => { readonly fields: F } | { readonly problem: string };

export function checkedBySchema<F>(schema: z.ZodType<F>): FieldsCheck<F> {
  return (raw) => {
    const result = schema.safeParse(raw);
    if (result.success) return { fields: result.data };
    const [{ path, message }] = result.error.issues as [z.core.$ZodIssue];
    return { problem: `"${path.join('.')}" is damaged (${message})` };
  };
}

/** For kinds that are read by commands that start without zod. */
export function checkedByShape<F>(shape: Shape): FieldsCheck<F> {
  return (raw) => {
    const problem = shapeMismatch(raw, shape);
    return problem === null ? { fields: raw as F } : { problem };
  };
}

/** Brings the fields of a manifest to the next format version. */
export type Migration = (fields: Readonly<Record<string, unknown>>) => Readonly<Record<string, unknown>>;

/** What sets one kind of artefact apart from others. */
export type ArtifactDefinition<F> = {
  /** `kind` of its manifests. */
  readonly kind: string;
  /** What it is called, with its article: `a feature set`. */
  readonly name: string;
  /** The command that makes one. */
  readonly command: string;
  /** Checks the fields that this kind has beside those of every manifest (`Manifest`). */
  readonly check: FieldsCheck<F>;
  /** From format version 1 to 2, 2 to 3, …: the version that is written is one more than there are. */
  readonly migrations?: readonly Migration[];
  /** Digests of its files, by their names, as a manifest records them. */
  readonly digests?: (fields: F) => Readonly<Record<string, string>>;
  /** The facts that `mixbct info` prints. */
  readonly describe: (manifest: Manifest<F>, path: string) => About;
  /** What to do if one is damaged; absent: make it again with the command. */
  readonly again?: string;
};

/** The manifest of an artefact: the fields of its kind and those of every manifest. */
export type Manifest<F> = F & {
  readonly kind: string;
  /** Of its format. */
  readonly version: number;
  /** Version of mixbct that made it. */
  readonly mixbct: string;
  /** Names of its files, and of its folders with a slash behind; absent: it was made by 0.3.0, or file by file. */
  readonly contents?: readonly string[];
  /** The artefacts that it was made from; absent: it was made by 0.3.0. */
  readonly madeFrom?: readonly Source[];
};

/** An artefact that another was made from. */
export type Source = {
  readonly kind: string;
  /** As seen from the folder of what was made. */
  readonly path: string;
  /** What its manifest calls its content by, if it does. */
  readonly digest?: string;
};

/** What a manifest calls the content of its artefact by: the digest of features or arrays, or of a run's model. */
export function contentDigestIn(manifest: Readonly<Record<string, unknown>>): string | null {
  const digest = manifest['digest'] ?? manifest['model'];
  return typeof digest === 'string' ? digest : null;
}

/** The artefacts among `inputs`, as the manifest of what stands at `path` names them. */
function sourcesOf(path: string, inputs: readonly (string | undefined)[]): Source[] {
  return [...new Set(inputs)].flatMap((input) => {
    const manifest = input === undefined ? null : manifestAt(input);
    if (typeof manifest?.['kind'] !== 'string') return [];
    const digest = contentDigestIn(manifest);
    const at = relative(realPath(path), realPath(input!));
    return [{ kind: manifest['kind'], path: at, ...(digest !== null && { digest }) }];
  });
}

export type WriteOptions = Omit<ArtifactOptions, 'kind'>;

/** One kind of artefact: a folder with a manifest. */
export class Artifact<F extends object> {
  readonly kind: string;
  readonly name: string;
  readonly command: string;
  /** What to do if one is damaged. */
  readonly again: string;
  readonly #definition: ArtifactDefinition<F>;

  constructor(definition: ArtifactDefinition<F>) {
    this.kind = definition.kind;
    this.name = definition.name;
    this.command = definition.command;
    this.again = definition.again ?? `make it again with: ${definition.command}`;
    this.#definition = definition;
  }

  /** The format version that is written. */
  get version(): number {
    return 1 + (this.#definition.migrations?.length ?? 0);
  }

  /** The manifest of a finished artefact. @throws FileError saying which command makes the thing that was wanted. */
  open(path: string): Manifest<F> {
    const file = join(path, MANIFEST);
    const hint = `make one with: ${this.command}`;
    if (!existsSync(path)) throw new FileError(path, `no such folder, wanted ${this.name}`, hint);
    if (!existsSync(file))
      throw new FileError(path, `is no finished ${this.name.replace(/^an? /, '')} (it has no ${MANIFEST})`, hint);
    const raw = readJson(file, hint) as Readonly<Record<string, unknown>> | null;
    if (raw?.['kind'] !== this.kind) {
      const found = typeof raw?.['kind'] === 'string' ? `a "${raw['kind']}"` : 'something else';
      throw new FileError(path, `is ${found}, wanted ${this.name}`, hint);
    }
    const found = this.#migrated(raw, file, hint);
    const { mixbct: maker } = raw;
    const result = typeof maker === 'string' ? this.#definition.check(found) : { problem: '"mixbct" is damaged' };
    if ('problem' in result) throw new FileError(file, `its ${result.problem}`, hint);
    const { kind, version } = this;
    return { ...result.fields, kind, version, mixbct: maker as string, ...listsIn(raw) };
  }

  #migrated(raw: Readonly<Record<string, unknown>>, file: string, hint: string): Readonly<Record<string, unknown>> {
    const found = raw['version'];
    if (typeof found !== 'number' || !Number.isInteger(found) || found < 1)
      throw new FileError(file, `its "version" is damaged (wanted a number, at most ${this.version})`, hint);
    if (found > this.version)
      throw new FileError(file, `has format version ${found}, this mixbct reads up to ${this.version}`, [
        'use the version of mixbct that made it, or a later one',
        hint,
      ]);
    const { migrations = [] } = this.#definition;
    return migrations.slice(found - 1).reduce((fields, migrate) => migrate(fields), raw);
  }

  /** Digests of its files, by their names, as a manifest records them. */
  digests(fields: F): Readonly<Record<string, string>> {
    return this.#definition.digests?.(fields) ?? {};
  }

  /** @throws FileError if a file of the artefact is not the one that its manifest describes. `requireDigest` says which are read. */
  verify(path: string, fields: F): void {
    for (const [name, digest] of Object.entries(this.digests(fields)))
      requireDigest(join(path, basename(name)), digest, this.again);
  }

  /**
   * Makes an artefact, whole or not at all: `make` fills a folder, and returns the fields of the manifest.
   * @throws UserError if another process writes `path`, what stands there may not be replaced, or the disk is full.
   */
  write(path: string, options: WriteOptions, make: (directory: string) => Promise<F> | F): Promise<Manifest<F>> {
    return writeArtifact(path, { ...options, kind: this.kind }, async (directory) => {
      const fields = await make(directory);
      const contents = readdirSync(directory, { withFileTypes: true })
        .map(contentName)
        .filter((name) => name !== null);
      return { ...this.manifest(path, fields, options.inputs), contents: contents.sort() };
    });
  }

  /** The manifest of an artefact at `path` that is made file by file, from `inputs`. */
  manifest(path: string, fields: F, inputs: readonly (string | undefined)[] = []): Manifest<F> {
    const { kind, version } = this;
    return { kind, version, ...fields, mixbct, madeFrom: sourcesOf(path, inputs) };
  }

  /** What people want to know of one, as far as its manifest tells. @throws FileError as `open` */
  describe(path: string): About & Pick<Manifest<object>, 'mixbct' | 'madeFrom'> {
    const manifest = this.open(path);
    const { mixbct, madeFrom } = manifest;
    return { ...this.#definition.describe(manifest, path), mixbct, ...(madeFrom && { madeFrom }) };
  }

  /** The right to write one at `path`. @throws UserError as `write` */
  claim(path: string, replacing: OverwriteOptions): OutputLock {
    return claimOutput(path, outputKindOf(this.kind), replacing);
  }
}

/** The lists that every manifest may have. Only `mixbct info` and `--force` read them: damaged ones are as good as none. */
function listsIn({ contents, madeFrom }: Readonly<Record<string, unknown>>) {
  const fits = (value: unknown, shape: Shape): boolean => value !== undefined && shapeMismatch(value, shape) === null;
  return {
    ...(fits(contents, ['']) && { contents: contents as readonly string[] }),
    ...(fits(madeFrom, [{ kind: '', path: '', digest: new Optional('') }]) && {
      madeFrom: madeFrom as readonly Source[],
    }),
  };
}

export const defineArtifact = <F extends object>(definition: ArtifactDefinition<F>): Artifact<F> =>
  new Artifact(definition);
