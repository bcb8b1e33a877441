import { FileError } from '../base/errors.ts';
import { ForeignNpy } from './foreign-npy.ts';

/** Class ids as JavaScript's numbers hold them exactly. */
const MOST_CLASS = Number.MAX_SAFE_INTEGER;
/** Family ids are int32 inside; a larger one would come back as another. */
const MOST_FAMILY = 2 ** 31 - 2;

/** Class ids [N], whole numbers from 0. @throws FileError */
export const readClassIds = (path: string, count: number): Float64Array =>
  Float64Array.from(readColumn(path, count, [0, MOST_CLASS]));

/** Family ids [N], whole numbers from 0, -1 for unknown. @throws FileError */
export const readFamilyIds = (path: string, count: number): Int32Array =>
  Int32Array.from(readColumn(path, count, [-1, MOST_FAMILY]));

/** [N] or [N, 1] of whole numbers of any type. */
function* readColumn(path: string, count: number, [least, most]: readonly [number, number]): Generator<number> {
  using file = new ForeignNpy(path);
  const { shape } = file;
  if (shape[0] !== count || shape.length < 1 || shape.slice(1).some((n) => n !== 1))
    throw new FileError(path, `has shape [${shape.join(', ')}], wanted [${count}], one entry for each feature`);
  if (file.kind === 'f')
    throw new FileError(
      path,
      `holds ${file.described}, wanted whole numbers`,
      'convert it in NumPy with .astype("int64")',
    );
  const ids = file.integers();
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    if (id < least || id > most)
      throw new FileError(path, `entry ${i} is ${id}`, `wanted whole numbers from ${least} to ${most}`);
    yield Number(id);
  }
}
