import { join } from 'node:path';
import { readJson } from '../../artifacts/json-file.ts';
import { packageRoot } from '../../base/version.ts';
import { fetchDebian, fetchNpm } from '../fetch-packages.ts';
import { type Face, fileFace, slicedFace } from './faces.ts';
import { jisLevel1, jisLevel2 } from './jis.ts';
import type { GlyphSetName } from './names.ts';

/** A glyph-identity data set: class = character, instance = one typeface's drawing of it. */
export type GlyphSource = {
  readonly title: string;
  readonly note: string;
  /** Where the typefaces come from and how many bytes they are, for the progress line. */
  readonly download: string;
  readonly codePoints: (levels: 1 | 2) => number[];
  /** Fetches the typefaces into `cache` unless they are there. */
  faces(cache: string): Promise<readonly Face[]>;
  /** Digest of the images by side and levels, as first made. Another one means that a typeface or the runtime changed. */
  readonly pinned: Readonly<Record<string, string>>;
};

const npmFaces: readonly (readonly [scope: '@fontsource' | '@fontsource-variable', name: string, version: string])[] = [
  ['@fontsource', 'dela-gothic-one', '5.3.0'],
  ['@fontsource', 'dotgothic16', '5.3.0'],
  ['@fontsource', 'kosugi-maru', '5.3.0'],
  ['@fontsource', 'mochiy-pop-one', '5.3.0'],
  ['@fontsource', 'sawarabi-gothic', '5.3.1'],
  ['@fontsource', 'yomogi', '5.3.0'],
  ['@fontsource', 'yusei-magic', '5.3.0'],
  ['@fontsource', 'zcool-kuaile', '5.3.0'],
  ['@fontsource', 'zcool-qingke-huangyou', '5.3.0'],
  ['@fontsource', 'zen-kurenaido', '5.3.0'],
  ['@fontsource-variable', 'noto-sans-jp', '5.3.1'],
  ['@fontsource-variable', 'noto-serif-jp', '5.3.1'],
];

type DebianFace = {
  readonly name: string;
  readonly family: string;
  readonly package: string;
  readonly file: string;
  readonly index: number;
};

const codePoints = (levels: 1 | 2): number[] => (levels === 1 ? jisLevel1() : [...jisLevel1(), ...jisLevel2()]);

/** The sets `mixbct data get` knows. */
export const glyphSources: Readonly<Record<GlyphSetName, GlyphSource>> = {
  k12: {
    title: 'K12: glyph identity, 12 typefaces from npm',
    note: 'JIS X 0208 kanji drawn by 12 typefaces (OFL-1.1; Kosugi Maru Apache-2.0)',
    download: '12 npm packages, 76 MB',
    codePoints,
    async faces(cache) {
      await fetchNpm(
        npmFaces.map(([scope, name, version]) => `${scope}/${name}@${version}`),
        cache,
      );
      return npmFaces.map(([scope, name]) => slicedFace(name, join(cache, 'node_modules', scope, name, 'files')));
    },
    pinned: { '32/1': '92ee38a04a16e25e' },
  },
  k55: {
    title: 'K55: glyph identity, 55 typefaces from Debian',
    note: 'JIS X 0208 kanji drawn by 55 typefaces of Debian 12 main (free licences of several kinds: keep the recipe, do not pass on the images)',
    download: '42 Debian packages, 227 MB',
    codePoints,
    async faces(cache) {
      const faces = readJson(join(packageRoot, 'recipes/glyphs/k55.json')) as readonly DebianFace[];
      await fetchDebian([...new Set(faces.map((face) => face.package))], cache);
      return faces.map((face) => fileFace(face.name, face.family, join(cache, face.package, face.file), face.index));
    },
    pinned: { '32/1': 'c04db39973227056' },
  },
};
