import { existsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { digestOf } from '../artifacts/digest.ts';
import { readJson } from '../artifacts/json-file.ts';
import { kindAt, MANIFEST } from '../artifacts/manifest.ts';
import { FileError, UserError } from '../base/errors.ts';
import { logLine } from '../base/progress.ts';
import type { Dataset, PixelMappingName } from '../data/index.ts';
import type { Space } from '../encoders/index.ts';
import { extractFeatures, extractSharded, FeatureSet } from '../features/index.ts';
import { readRunManifest } from '../runs/load-model.ts';
import { openEncoder } from '../runs/open-encoder.ts';
import type { DistributedContext } from '../torch/index.ts';

/** A model as an argument of a command: a finished run, or its features of the benchmark. */
export type ModelSource = {
  readonly name: string;
  readonly path: string;
  readonly kind: 'run' | 'features';
  /** Its own space is another than the old one, to which a projection leads. */
  readonly projected: boolean;
};

/** @throws FileError if `[name=]folder` names neither a run nor a feature set; UserError if the name is no file name. */
export function modelSource(text: string): ModelSource {
  const at = text.indexOf('=');
  const path = text.slice(at + 1);
  const name = at < 0 ? basename(path) : text.slice(0, at);
  if (!/^[\w.-]+$/.test(name) || /^\.+$/.test(name))
    throw new UserError(`${text}: ${name} is no name for a model`, {
      hint: 'wanted name=folder, the name of letters, digits, ".", "_" and "-"',
    });
  const plus = path.lastIndexOf('+');
  if (plus >= 0 && kindAt(path.slice(plus + 1)) === 'adapter')
    throw new UserError(`${text}: wanted one folder, got features and an adapter`, {
      hint: `map the features first: mixbct adapt apply ${path.slice(plus + 1)} ${path.slice(0, plus)} --out …`,
    });
  const manifest = join(path, MANIFEST);
  const kind = existsSync(manifest) ? (readJson(manifest) as { readonly kind?: unknown } | null)?.kind : undefined;
  if (kind === 'features') return { name, path, kind, projected: false };
  return { name, path, kind: 'run', projected: readRunManifest(path).recipe.projection !== null };
}

/** Images that features are kept of. */
export type KeptDataset = {
  readonly path: string;
  readonly digest: string;
  /** `Dataset.filesDigest`; null: the files are not there, and features that were kept of them are taken. Looks at every file. */
  files(): string | null;
  /** When a file changed last, in milliseconds since 1970: for features of 0.3.0, which do not tell of which files they are. */
  changedMs(): number;
  open(): Dataset;
};

export type KeepOptions = {
  /** Folder of the feature sets that are kept. */
  readonly features: string;
  readonly pixels: PixelMappingName;
  readonly flip: 'none' | 'mean';
  readonly space: Space;
  readonly batchSize: number;
  readonly workers: number;
  /** The processes that extract together, if there are several. */
  readonly distributed: DistributedContext | null;
};

/**
 * A model's features of a dataset: those that were kept, else extracted now and kept. A feature set is named by all that it
 * depends on, so that none is taken for another; an interrupted extraction goes on where it was. If the image files have
 * changed since, features are extracted anew.
 * @throws FileError if the source is a feature set of other images, or of another kind.
 */
export async function cachedFeatures(
  source: ModelSource,
  dataset: KeptDataset,
  { features, pixels, flip, space, distributed, ...options }: KeepOptions,
): Promise<FeatureSet> {
  if (source.kind === 'features') return ofDataset(FeatureSet.open(source.path), dataset);
  const manifest = readRunManifest(source.path);
  const out = join(features, digestOf(manifest.model, space, dataset.digest, flip, pixels));
  const replaces = existsSync(out) && !isOfFiles(out, dataset);
  if (replaces) logLine(`${out}: images of ${dataset.path} have changed since, their features are extracted again`);
  if (replaces || !existsSync(out)) {
    using encoder = await openEncoder(source.path, { space, pixels });
    using images = dataset.open();
    const to = { ...options, out, flip, force: replaces };
    if (distributed) await extractSharded(images, encoder, to, distributed);
    else await extractFeatures(images, encoder, to);
  }
  return FeatureSet.open(out);
}

/** Whether kept features are of the files that are there now. */
function isOfFiles(out: string, { files, changedMs }: KeptDataset): boolean {
  const there = files();
  if (there === null) return true;
  using set = FeatureSet.open(out, { verify: false });
  const kept = set.info.dataset?.files;
  return kept === undefined ? statSync(join(out, MANIFEST)).mtimeMs >= changedMs() : kept === there;
}

function ofDataset(set: FeatureSet, { path, digest, files }: KeptDataset): FeatureSet {
  if (set.info.dataset?.digest === digest) {
    const made = set.info.dataset.files;
    const there = made === undefined ? null : files();
    if (there !== null && made !== there)
      logLine(
        `warning: ${set.path}: image files of ${path} have another size or time than when these features were made`,
      );
    return set;
  }
  set.close();
  throw new FileError(
    set.path,
    `holds features of ${set.info.dataset?.path ?? 'images of unknown origin'}, wanted features of ${path}`,
    'give the folder of the run instead: its features are extracted and kept',
  );
}
