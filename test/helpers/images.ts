import { Rng } from '../../src/base/rng.ts';
import { encodePgm } from '../../src/data/decode.ts';
import { packImage, writeRecords } from '../../src/data/recordio.ts';
import { type Sidecar, writeSidecar } from '../../src/data/sidecar.ts';

export type TinySet = { readonly perClass: readonly number[]; readonly side?: number; readonly families?: number };

/** One class's drawing with noise of its own: enough structure that a small network learns it. */
export function pattern(label: number, instance: number, side: number): Uint8Array {
  const rng = new Rng('pattern').split(label, instance);
  return Uint8Array.from({ length: side * side }, (_, i) => {
    const [x, y] = [i % side, Math.floor(i / side)];
    const value = 128 + 60 * Math.sin((label + 1) * 0.7 * x) + 60 * Math.cos((label + 2) * 0.5 * y);
    return Math.max(0, Math.min(255, Math.round(value + 20 * (rng.uniform() - 0.5))));
  });
}

/** Writes a small record set of patterns, sorted by class, family = instance modulo `families`. */
export async function writeTinySet(prefix: string, { perClass, side = 16, families = 0 }: TinySet): Promise<void> {
  const images = perClass.reduce((sum, n) => sum + n, 0);
  await writeRecords(prefix, (writer) => {
    let key = 0;
    writer.write(key++, packImage({ labels: [images + 1, perClass.length], id: 0, image: new Uint8Array() }));
    for (const [label, count] of perClass.entries())
      for (let instance = 0; instance < count; instance++) {
        const labels = [label, families > 0 ? instance % families : 1];
        writer.write(key, packImage({ labels, id: key, image: encodePgm(pattern(label, instance, side), side, side) }));
        key++;
      }
  });
  const sidecar: Sidecar = { classes: perClass.map((_, i) => `class ${i}`) };
  writeSidecar(
    prefix,
    families > 0 ? { ...sidecar, families: Array.from({ length: families }, (_, i) => `family ${i}`) } : sidecar,
  );
}
