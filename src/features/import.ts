import { FileError } from '../base/errors.ts';
import { openDataset } from '../data/index.ts';
import { type DatasetReference, referenceTo } from './artifact.ts';
import { type ClassKeys, classKeysOf } from './class-keys.ts';
import { type FeaturesInfo, firstNonFinite, numbersOf, writeFeatureSet } from './feature-set.ts';
import { NpyFile, readNpy } from './npy.ts';

/** Paths of .npy files from elsewhere: features float32 or float16 [N, D], labels and families whole numbers [N]. */
export type NpyImport = {
  readonly features: string;
  readonly labels: string;
  readonly families?: string | undefined;
  /** The dataset whose embeddings these are, row by row; methods that look rows up by position then know it. */
  readonly dataset?: string | undefined;
};

const CHUNK_ROWS = 65536;
/** Ids are int32 inside; a larger one would come back as another. */
const MOST_ID = 2 ** 31 - 2;

/**
 * Makes a feature set of arrays that another system wrote; the way out needs no command, for a feature set's files are
 * .npy. @throws FileError if there are no rows, counts disagree, an id is out of range or a feature is not finite.
 */
export async function importNpy(
  paths: NpyImport,
  out: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<FeaturesInfo> {
  using file = new NpyFile(paths.features, ['<f4', '<f2']);
  const [count, dim] = file.shape;
  if (file.shape.length !== 2 || !dim)
    throw new FileError(paths.features, `has shape [${file.shape.join(', ')}], wanted [N, D]`);
  if (count === 0) throw new FileError(paths.features, 'holds no rows');
  const labels = column(paths.labels, count!);
  const families = paths.families === undefined ? new Int32Array(count!).fill(-1) : column(paths.families, count!, -1);
  const known = paths.dataset === undefined ? null : datasetOf(paths.dataset, labels, paths.labels);
  const { dataset, classKeys } = known ?? { dataset: null, classKeys: null };
  const classes = dataset?.classes ?? labels.reduce((most, label) => Math.max(most, label), 0) + 1;
  const dtype = file.type === '<f2' ? 'float16' : 'float32';
  return await writeFeatureSet(
    out,
    { dim, classes, model: null, dataset, flip: 'none', labels, families, classKeys, dtype },
    { force, inputs: Object.values(paths) },
    ({ append }) => {
      for (let from = 0; from < count!; from += CHUNK_ROWS) {
        const rows = numbersOf(file.read(from, Math.min(CHUNK_ROWS, count! - from)));
        const bad = firstNonFinite(rows);
        if (bad >= 0)
          throw new FileError(
            paths.features,
            `row ${from + Math.floor(bad / dim)} holds ${rows[bad]}`,
            'features must be finite',
          );
        append(rows);
      }
    },
  );
}

/** The reference to a dataset whose labels, image by image, are these. @throws FileError naming the first that differs. */
function datasetOf(
  path: string,
  labels: Int32Array,
  from: string,
): { readonly dataset: DatasetReference; readonly classKeys: ClassKeys } {
  using dataset = openDataset(path);
  if (dataset.size !== labels.length)
    throw new FileError(from, `holds ${labels.length} labels, ${path} ${dataset.size} images`);
  const theirs = dataset.labels();
  const row = labels.findIndex((label, i) => label !== theirs[i]);
  if (row >= 0)
    throw new FileError(
      from,
      `entry ${row} is class ${labels[row]}, image ${row} of ${path} is of class ${theirs[row]}`,
      'bring the rows in the order of the dataset',
    );
  return { dataset: referenceTo(dataset), classKeys: classKeysOf(dataset) };
}

function column(path: string, count: number, least = 0): Int32Array {
  const { data, shape } = readNpy(path, ['<i8', '<i4']);
  if (String(shape) !== String([count]))
    throw new FileError(path, `has shape [${shape.join(', ')}], wanted [${count}], one entry for each feature`);
  const bad = (data as ArrayLike<number | bigint> as Int32Array).findIndex((id) => id < least || id > MOST_ID);
  if (bad >= 0)
    throw new FileError(path, `entry ${bad} is ${data[bad]}`, `wanted whole numbers from ${least} to ${MOST_ID}`);
  return Int32Array.from(data as ArrayLike<number | bigint> as ArrayLike<number>, Number);
}
