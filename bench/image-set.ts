import { packImage, writeRecords } from '../src/data/recordio.ts';

/** Writes a record set of `count` encoded images, class by class; the images are used again where there are fewer. */
export const writeImageSet = (
  prefix: string,
  images: readonly Buffer[],
  { count = images.length, classes }: { readonly count?: number; readonly classes: number },
): Promise<void> =>
  writeRecords(prefix, (writer) => {
    writer.write(0, packImage({ labels: [count + 1, classes], id: 0, image: new Uint8Array() }));
    for (let i = 0; i < count; i++) {
      const label = Math.floor((i * classes) / count);
      writer.write(i + 1, packImage({ labels: [label, 0], id: i + 1, image: images[i % images.length]! }));
    }
  });
