// Cuts test/golden/glyphs.png, the real drawings that the small IJB benchmark of the tests is made of, from the set K12:
// 60 characters (rows) by 8 of its typefaces (columns), 32 pixels each, 16 levels. All 8 are under the OFL-1.1.
// Run: node dist/src/cli/main.js data get k12 && node dist/test/golden/make_glyphs.js data/k12/k12_32
import { writeFileSync } from 'node:fs';
import sharp from 'sharp';
import { decode } from '../../src/data/decode.ts';
import { openDataset } from '../../src/data/index.ts';
import { GLYPH_SHEET } from '../helpers/glyphs.ts';

const { subjects, faces, side, path } = GLYPH_SHEET;
const typefaces = [
  'dela-gothic-one',
  'dotgothic16',
  'mochiy-pop-one',
  'sawarabi-gothic',
  'yomogi',
  'yusei-magic',
  'noto-sans-jp',
  'noto-serif-jp',
];
using set = openDataset(process.argv[2]!);
const [labels, families] = [set.labels(), set.families()];
const wanted = typefaces.map((name) => set.sidecar.families!.indexOf(name));
const imageOf = new Map(Array.from(labels, (label, i) => [`${label}/${families[i]}`, i]));
const whole = [...new Set(labels)].filter((label) => wanted.every((family) => imageOf.has(`${label}/${family}`)));
const sheet = new Uint8Array(subjects * side * faces * side);
for (let row = 0; row < subjects; row++) {
  const label = whole[Math.floor((row * whole.length) / subjects)]!;
  for (const [column, family] of wanted.entries()) {
    const { pixels } = await decode(set.record(imageOf.get(`${label}/${family}`)!).image);
    for (let i = 0; i < side * side; i++)
      sheet[((row * side + Math.floor(i / side)) * faces + column) * side + (i % side)] =
        17 * Math.round(pixels[3 * i]! / 17);
  }
}
const raw = { width: faces * side, height: subjects * side, channels: 1 as const };
writeFileSync(
  path,
  await sharp(sheet, { raw }).png({ palette: true, colours: 16, dither: 0, compressionLevel: 9 }).toBuffer(),
);
