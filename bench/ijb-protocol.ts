import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Rng } from '../src/base/rng.ts';
import { add, fillNormal, generator, mul, scope, selectRows, tensor, toFloat32, zeros } from '../src/torch/index.ts';

/** How large a protocol is. */
export type IjbSizes = {
  readonly images: number;
  readonly galleries: readonly [number, number];
  readonly probes: number;
  readonly genuine: number;
  readonly impostors: number;
};

/** IJB-C (methods.md 6.1). */
export const IJBC: IjbSizes = {
  images: 469_375,
  galleries: [1772, 1759],
  probes: 19_593,
  genuine: 19_557,
  impostors: 15_638_932,
};

/** The same protocol with `factor` times the images, probes and pairs, and half as many more gallery templates for each doubling. */
export const scaled = (factor: number): IjbSizes => {
  const times = (n: number): number => Math.round(n * factor);
  const root = (n: number): number => Math.round(n * Math.sqrt(factor));
  return {
    images: times(IJBC.images),
    galleries: [root(IJBC.galleries[0]), root(IJBC.galleries[1])],
    probes: times(IJBC.probes),
    genuine: times(IJBC.genuine),
    impostors: times(IJBC.impostors),
  };
};

/** Images of one template and medium, on average. */
const IMAGES_OF_MEDIUM = 4;
/** Rows of embeddings made at a time. */
const CHUNK = 4096;

/**
 * Writes the meta files of an IJB-C protocol of these sizes in their layout below `root`. Pairs are in the order of their
 * gallery template, impostors of each a run of a shuffled list of probes.
 */
export function writeProtocol(root: string, sizes: IjbSizes): { readonly templates: Int32Array } {
  const meta = join(root, 'IJBC', 'meta');
  for (const folder of [meta, join(root, 'IJBC', 'loose_crop')]) mkdirSync(folder, { recursive: true });
  const rng = new Rng('ijb');
  const subjects = sizes.galleries[0] + sizes.galleries[1];
  const gallery = Int32Array.from({ length: subjects }, (_, s) => s + 1);
  const probes = Int32Array.from({ length: sizes.probes }, (_, p) => subjects + 1 + p);
  // the last probes show nobody who is enrolled
  const subjectOfProbe = probes.map((_, p) => (p < sizes.genuine ? p % subjects : subjects + p));

  const drawn = rng.split('images');
  const everyTemplate = [...gallery, ...probes];
  const templates = Int32Array.from({ length: sizes.images }, (_, i) =>
    i < everyTemplate.length ? everyTemplate[i]! : everyTemplate[drawn.integer(everyTemplate.length)]!,
  );
  const media = templates.map(() => drawn.integer(Math.ceil(sizes.images / everyTemplate.length / IMAGES_OF_MEDIUM)));
  const detector = Float32Array.from(templates, () => 0.5 + drawn.uniform() / 2);
  table(join(meta, 'ijbc_face_tid_mid.txt'), sizes.images, (i) => `${i}.jpg ${templates[i]} ${media[i]}`);
  table(
    join(meta, 'ijbc_name_5pts_score.txt'),
    sizes.images,
    (i) => `${i}.jpg 46.06 62.03 87.79 60.32 68.85 77.66 52.16 99.88 86.45 98.65 ${detector[i]}`,
  );
  const listed = (name: string, ids: Int32Array, who: (i: number) => number): void =>
    table(join(meta, name), ids.length, (i) => `${ids[i]},${who(i)}`, 'TEMPLATE_ID,SUBJECT_ID');
  const first = gallery.slice(0, sizes.galleries[0]);
  const second = gallery.slice(sizes.galleries[0]);
  listed('ijbc_1N_gallery_G1.csv', first, (i) => i);
  listed('ijbc_1N_gallery_G2.csv', second, (i) => first.length + i);
  listed('ijbc_1N_probe_mixed.csv', probes, (i) => subjectOfProbe[i]!);

  const pairs = pairColumns(sizes, subjects, rng.split('pairs').sample([...probes.keys()], sizes.probes));
  table(
    join(meta, 'ijbc_template_pair_label.txt'),
    pairs.same.length,
    (k) => `${pairs.gallery[k]! + 1} ${subjects + 1 + pairs.probe[k]!} ${pairs.same[k]}`,
  );
  return { templates };
}

/** Positions of gallery entries and of probes. */
function pairColumns({ genuine, impostors }: IjbSizes, subjects: number, shuffled: readonly number[]) {
  const count = genuine + impostors;
  const made = { gallery: new Int32Array(count), probe: new Int32Array(count), same: new Uint8Array(count) };
  let k = 0;
  const put = (gallery: number, probe: number, same: number): void => {
    made.gallery[k] = gallery;
    made.probe[k] = probe;
    made.same[k++] = same;
  };
  for (let g = 0; g < subjects; g++) {
    for (let p = g; p < genuine; p += subjects) put(g, p, 1);
    const wanted = Math.floor(impostors / subjects) + (g < impostors % subjects ? 1 : 0);
    for (let found = 0, at = g * 7; found < wanted; at++) {
      const probe = shuffled[at % shuffled.length]!;
      if (probe < genuine && probe % subjects === g) continue;
      put(g, probe, 0);
      found++;
    }
  }
  return made;
}

/** Lines of a text file, written in blocks. */
function table(path: string, rows: number, line: (i: number) => string, header?: string): void {
  const file = openSync(path, 'w');
  let block = header === undefined ? '' : `${header}\n`;
  for (let i = 0; i < rows; i++) {
    block += `${line(i)}\n`;
    if (block.length > 1 << 20) {
      writeSync(file, block);
      block = '';
    }
  }
  writeSync(file, block);
  closeSync(file);
}

/**
 * Embeddings of the images [N · D], a block at a time: of a subject's direction, what its template adds, and what the image
 * adds. `noise` is what the model leaves of the two.
 */
export function* embeddings(
  templates: Int32Array,
  sizes: IjbSizes,
  { dim, noise, seed }: { readonly dim: number; readonly noise: number; readonly seed: number },
): Generator<Float32Array> {
  const subjects = sizes.galleries[0] + sizes.galleries[1];
  const subjectOf = (template: number): number => {
    const probe = template - 1 - subjects;
    return probe < 0 ? template - 1 : probe < sizes.genuine ? probe % subjects : subjects + probe - sizes.genuine;
  };
  const rows = (count: number, draw: number): Float32Array =>
    scope(() => toFloat32(fillNormal(zeros([count, dim]), generator(draw))));
  const people = rows(subjects + sizes.probes - sizes.genuine, 1);
  const sessions = rows(subjects + sizes.probes, seed);
  const spread = new Rng('spread').split(seed);
  const strength = Float32Array.from({ length: subjects + sizes.probes }, () => noise * (0.5 + 2 * spread.uniform()));
  for (let from = 0; from < templates.length; from += CHUNK) {
    const of = templates.subarray(from, from + CHUNK);
    yield scope(() => {
      const pick = (table: Float32Array, which: (t: number) => number) =>
        selectRows(
          tensor(table, { shape: [table.length / dim, dim] }),
          tensor(BigInt64Array.from(of, (t) => BigInt(which(t)))),
        );
      const share = tensor(
        Float32Array.from(of, (t) => strength[t - 1]!),
        { shape: [of.length, 1] },
      );
      const session = mul(
        pick(sessions, (t) => t - 1),
        share,
      );
      const image = mul(fillNormal(zeros([of.length, dim]), generator(seed + 1 + from)), noise);
      return toFloat32(add(add(pick(people, subjectOf), session), image));
    });
  }
}
