import { ByteWriter, ParquetWriter, type SchemaElement } from 'hyparquet-writer';
import { bytesOf } from '../base/bytes-of.ts';
import { fromHalf } from '../base/half.ts';
import { version } from '../base/version.ts';
import type { EmbeddingFormat } from './embedding-files.ts';
import { type FeatureDtype, npyTypes } from './feature-set.ts';
import { npyHeader } from './npy.ts';

/** Rows [K, D] as they are stored, flat, with their ids. */
export type EmbeddingBlock = { readonly ids: readonly string[]; readonly rows: Float32Array | Uint16Array };

/** What a file of embeddings holds beside its rows. */
export type EmbeddingsHead = {
  /** N, D */
  readonly count: number;
  readonly dim: number;
  readonly dtype: FeatureDtype;
  /** The description, as JSON, for formats that have room for it. */
  readonly description: string;
};

/** The bytes of a file, a chunk at a time: the next one may use the memory of the last. */
type Encoding = (head: EmbeddingsHead, blocks: Iterable<EmbeddingBlock>) => Iterable<Uint8Array>;

const numbersOf = (rows: Float32Array | Uint16Array): Float32Array =>
  rows instanceof Uint16Array ? fromHalf(rows) : rows;

/** The rows [N, D]; ids stand in a file of their own. */
function* npyChunks({ count, dim, dtype }: EmbeddingsHead, blocks: Iterable<EmbeddingBlock>): Iterable<Uint8Array> {
  yield npyHeader(npyTypes[dtype], [count, dim]);
  for (const { rows } of blocks) yield bytesOf(rows);
}

/** Digits that tell every float32 from its neighbours. */
const DIGITS = 9;

/** `{"id":"a.jpg","embedding":[0.25,…]}` a line. */
function* jsonLines({ dim }: EmbeddingsHead, blocks: Iterable<EmbeddingBlock>): Iterable<Uint8Array> {
  for (const { ids, rows } of blocks) {
    const numbers = numbersOf(rows);
    for (const [row, id] of ids.entries()) {
      const embedding = Array.from(numbers.subarray(row * dim, (row + 1) * dim), (x) => Number(x.toPrecision(DIGITS)));
      yield Buffer.from(`${JSON.stringify({ id, embedding })}\n`);
    }
  }
}

/** Columns `id` and `embedding`, none of them null: the layout of lists that Parquet's specification asks for. */
const SCHEMA: SchemaElement[] = [
  { name: 'schema', num_children: 2 },
  { name: 'id', type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type: 'REQUIRED' },
  { name: 'embedding', converted_type: 'LIST', repetition_type: 'REQUIRED', num_children: 1 },
  { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
  { name: 'element', type: 'FLOAT', repetition_type: 'REQUIRED' },
];

/** A row group for each block. */
function* parquetChunks({ dim, description }: EmbeddingsHead, blocks: Iterable<EmbeddingBlock>): Iterable<Uint8Array> {
  const bytes = new ByteWriter();
  function* written(): Iterable<Uint8Array> {
    yield bytes.getBytes();
    bytes.index = 0; // what was written is forgotten; offsets go on
  }
  const kvMetadata = [{ key: 'mixbct', value: description }];
  const writer = new ParquetWriter({
    writer: bytes,
    schema: SCHEMA,
    kvMetadata,
    createdBy: `mixbct version ${version}`,
  });
  for (const { ids, rows } of blocks) {
    const numbers = numbersOf(rows);
    const embeddings = ids.map((_, row) => Array.from(numbers.subarray(row * dim, (row + 1) * dim)));
    writer.write({
      columnData: [
        { name: 'id', data: [...ids], encoding: 'PLAIN', statistics: false },
        { name: 'embedding', data: embeddings, encoding: 'PLAIN', codec: 'UNCOMPRESSED', statistics: false },
      ],
      rowGroupSize: ids.length,
    });
    yield* written();
  }
  writer.finish();
  yield* written();
}

export const encodings: Readonly<Record<EmbeddingFormat, Encoding>> = {
  '.npy': npyChunks,
  '.jsonl': jsonLines,
  '.parquet': parquetChunks,
};
