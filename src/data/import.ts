import { refuseExisting } from '../base/artifact.ts';
import { progress } from '../base/progress.ts';
import { type Dataset, idsOf } from './dataset.ts';
import { lineageOf, originOfPart } from './lineage.ts';
import { packImage, recordFiles, writeRecords } from './recordio.ts';
import { writeSidecar } from './sidecar.ts';
import type { Written } from './split.ts';

/**
 * Writes a dataset (an image folder, or a record set in any order) as a record set sorted by class, with its header
 * record and its description beside it. The encoded bytes are carried over untouched.
 */
export async function importDataset(
  dataset: Dataset,
  prefix: string,
  { force = false }: { readonly force?: boolean } = {},
): Promise<Written> {
  refuseExisting(recordFiles(prefix).rec, force);
  const labels = dataset.labels();
  const order = Array.from(labels.keys()).sort((a, b) => labels[a]! - labels[b]! || a - b);
  const bar = progress('import', order.length);
  try {
    await writeRecords(prefix, (writer) => {
      writer.write(0, packImage({ labels: [order.length + 1, dataset.classes], id: 0, image: new Uint8Array() }));
      for (const [i, index] of order.entries()) {
        const record = dataset.record(index);
        const { length } = record.labels;
        writer.write(
          i + 1,
          packImage({ ...record, labels: length > 1 ? record.labels : [...record.labels, 0], id: i + 1 }),
        );
        bar.update(i + 1);
      }
    });
  } finally {
    bar.stop();
  }
  writeSidecar(prefix, { ...dataset.sidecar, origin: originOfPart(lineageOf(dataset)) }, idsOf(dataset, order));
  return { prefix, images: order.length, classes: dataset.classes };
}
