import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { Rng } from '../../src/base/rng.ts';
import { composeTransforms, FIVE_POINTS, invertTransform } from '../../src/data/face-alignment.ts';
import { nativeImage } from '../../src/data/native-image.ts';
import { GLYPH_SHEET, type Glyphs, readGlyphs } from './glyphs.ts';

/** One image of the benchmark and what it really shows. */
export type IjbRow = {
  readonly name: string;
  readonly subject: number;
  readonly face: number;
  readonly template: number;
  readonly medium: number;
  readonly landmarks: readonly number[];
  readonly score: number;
};

export type SmallIjb = {
  readonly root: string;
  readonly rows: readonly IjbRow[];
  /** Template ids of each gallery, by subject. */
  readonly galleries: readonly ReadonlyMap<number, number>[];
  /** Template id → subject, of probes. */
  readonly probes: ReadonlyMap<number, number>;
  readonly pairs: readonly (readonly [gallery: number, query: number, same: 0 | 1])[];
};

export type SmallIjbOptions = {
  readonly subset?: 'IJBC' | 'IJBB';
  readonly seed?: number;
  readonly subjects?: number;
};

/** Subjects in no gallery: their probes have no mate. */
const STRANGERS = 8;
/** Which typefaces each template of a subject shows, medium by medium: one to be enrolled, then three probes. */
const TEMPLATES: readonly (readonly (readonly number[])[])[] = [[[0, 1, 1], [2]], [[4, 4, 5], [3]], [[6, 7]], [[5]]];
const IMPOSTORS_EACH = 12;

/**
 * Writes a small IJB benchmark in its published layout to `root`: a subject is a character, an image one typeface's drawing of
 * it, turned, resized and moved in a JPEG larger than what a network sees. Equal options give equal files.
 */
export async function writeSmallIjb(
  root: string,
  { subset = 'IJBC', seed = 1, subjects = GLYPH_SHEET.subjects }: SmallIjbOptions = {},
): Promise<SmallIjb> {
  const rng = new Rng(seed).split('small ijb');
  const [crops, meta] = [join(root, subset, 'loose_crop'), join(root, subset, 'meta')];
  for (const folder of [crops, meta]) mkdirSync(folder, { recursive: true });
  const glyphs = await readGlyphs();
  const ids = rng
    .split('templates')
    .sample([...Array(3 * TEMPLATES.length * subjects).keys()], TEMPLATES.length * subjects);
  const images = imagesOf(subjects, ids);
  const plan = rng
    .split('order')
    .sample([...images.keys()], images.length)
    .map((i) => images[i]!);
  const rows: IjbRow[] = [];
  for (const [i, image] of plan.entries()) {
    const name = `${i + 1}.jpg`;
    const { bytes, landmarks } = await draw(glyphs, image, rng.split('crop', i), i);
    writeFileSync(join(crops, name), bytes);
    const score = Number((0.6 + 0.4 * rng.split('score', i).uniform()).toFixed(6));
    rows.push({ name, ...image, landmarks, score });
  }
  const enrolled = subjects - Math.min(STRANGERS, Math.floor(subjects / 2));
  const of = (subject: number, t: number): number => ids[subject * TEMPLATES.length + t]!;
  const galleries = [0, 1].map(
    (g) => new Map([...Array(enrolled).keys()].filter((s) => s % 2 === g).map((s) => [s, of(s, 0)])),
  );
  const everybody = [...Array(subjects).keys()];
  const probes = new Map(everybody.flatMap((s) => [1, 2, 3].map((t) => [of(s, t), s] as const)));
  const pairs = everybody.flatMap((s) => {
    const genuine = [1, 2, 3].map((t) => [of(s, 0), of(s, t), 1] as const);
    const draws = rng.split('impostors', s);
    const impostors = Array.from({ length: IMPOSTORS_EACH }, () => {
      const other = (s + 1 + draws.integer(subjects - 1)) % subjects;
      return [of(s, 0), of(other, 1 + draws.integer(3)), 0] as const;
    });
    return [...genuine, ...impostors];
  });
  const result: SmallIjb = { root, rows, galleries, probes, pairs };
  writeMeta(join(meta, subset.toLowerCase()), subset, result);
  return result;
}

type Planned = Pick<IjbRow, 'subject' | 'face' | 'template' | 'medium'>;

function imagesOf(subjects: number, ids: readonly number[]): Planned[] {
  let medium = 100;
  return [...Array(subjects).keys()].flatMap((subject) =>
    TEMPLATES.flatMap((media, t) =>
      media.flatMap((faces) => {
        medium++;
        return faces.map((face) => ({ subject, face, template: ids[subject * TEMPLATES.length + t]!, medium }));
      }),
    ),
  );
}

/** A crop with the drawing somewhere in it, and where the five points of the template lie. Every 40th is a grey JPEG. */
async function draw(glyphs: Glyphs, { subject, face }: Planned, rng: Rng, i: number) {
  const within = (least: number, most: number): number => least + (most - least) * rng.uniform();
  const side = 72 + rng.integer(24);
  const height = side - rng.integer(8);
  const [scale, angle] = [within(0.42, 0.52), within(-0.4, 0.4)];
  const [a, b] = [scale * Math.cos(angle), scale * Math.sin(angle)];
  // template pixel → crop pixel: the middle of the template near the middle of the crop
  const [x, y] = [side / 2 + within(-5, 5), height / 2 + within(-5, 5)];
  const place = Float64Array.of(a, -b, x - 56 * (a - b), b, a, y - 56 * (a + b));
  const toGlyph = (112 - 1) / (GLYPH_SHEET.side - 1);
  const cropToGlyph = composeTransforms(invertTransform(place), Float64Array.of(1 / toGlyph, 0, 0, 0, 1 / toGlyph, 0));
  const pixels = new Uint8Array(side * side * 3);
  nativeImage.warpAffine(glyphs(subject, face), GLYPH_SHEET.side, GLYPH_SHEET.side, cropToGlyph, pixels, 0, side);
  for (let k = 0; k < pixels.length; k++) pixels[k] = Math.min(255, 0.8 * pixels[k]! + 40 * rng.uniform());
  const image = sharp(pixels, { raw: { width: side, height: side, channels: 3 } }).extract({
    left: 0,
    top: 0,
    width: side,
    height,
  });
  const bytes = await (i % 40 === 0 ? image.greyscale() : image).jpeg({ quality: 90 }).toBuffer();
  const landmarks = FIVE_POINTS.map((_, k) => {
    const [u, v] = [FIVE_POINTS[k - (k % 2)]!, FIVE_POINTS[k - (k % 2) + 1]!];
    return Number((k % 2 === 0 ? a * u - b * v + place[2]! : b * u + a * v + place[5]!).toFixed(3));
  });
  return { bytes, landmarks };
}

function writeMeta(stem: string, subset: 'IJBC' | 'IJBB', { rows, galleries, probes, pairs }: SmallIjb): void {
  const write = (name: string, lines: readonly (readonly (string | number)[])[], separator = ' '): void =>
    writeFileSync(`${stem}_${name}`, `${lines.map((line) => line.join(separator)).join('\n')}\n`);
  write(
    'face_tid_mid.txt',
    rows.map(({ name, template, medium }) => [name, template, medium]),
  );
  write(
    'name_5pts_score.txt',
    rows.map(({ name, landmarks, score }) => [name, ...landmarks, score]),
  );
  write('template_pair_label.txt', pairs);
  const header = ['TEMPLATE_ID', 'SUBJECT_ID', 'FILENAME'];
  const csv = (name: string, templates: Iterable<readonly [template: number, subject: number]>): void => {
    const subjects = new Map(templates);
    const own = rows.filter(({ template }) => subjects.has(template));
    write(name, [header, ...own.map((row) => [row.template, row.subject + 1000, `img/${row.name}`])], ',');
  };
  for (const [g, name] of (subset === 'IJBC' ? ['G1', 'G2'] : ['S1', 'S2']).entries())
    csv(
      `1N_gallery_${name}.csv`,
      [...galleries[g]!].map(([subject, template]) => [template, subject]),
    );
  csv('1N_probe_mixed.csv', probes);
}

/** Feature sets in the folder of `evaluate ijb --features`, where the lists of the benchmark are kept, too. */
export const keptSets = (folder: string): string[] => readdirSync(folder).filter((name) => !name.endsWith('.lists'));
