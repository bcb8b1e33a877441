import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { testFolder } from '../../../test/helpers/folder.ts';
import { decode } from '../decode.ts';
import { openDataset } from '../index.ts';
import { readSidecar } from '../sidecar.ts';
import { buildIcons } from './build.ts';
import { emojiOf } from './emoji.ts';
import { openIconSet } from './icon-set.ts';
import { pictogramsOf } from './pictograms.ts';

const SIDE = 8;
/** A square of one colour in the left upper quarter of a drawing 4 units wide. */
const square = (colour: string) => ({ body: `<path fill="${colour}" d="M0 0h2v2H0z"/>` });
const TONES = ['light', 'medium-light', 'medium', 'medium-dark', 'dark'];

/** Two sets of our own. The second names things differently, with a synonym, and lacks `moon`. */
const files = {
  first: {
    icons: {
      sun: square('#ff0000'),
      moon: square('#00ff00'),
      'red-heart': square('#0000ff'),
      'police-car': square('#123456'),
      'police-car-light': square('#654321'),
      boy: square('#111111'),
      ...Object.fromEntries(TONES.map((tone, i) => [`boy-${tone}`, square(`#22222${i}`)])),
      twin: square('#777777'),
      'other-twin': square('#777777'),
    },
    width: 4,
    height: 4,
  },
  second: {
    icons: {
      star: square('#ffff00'),
      redheart: square('#ff00ff'),
      'police-car-light': square('#00ffff'),
      boy: { body: '<use xlink:href="#a"/><path id="a" fill="#333" d="M1 1h2v2H1z"/>', width: 8, height: 8 },
      twin: square('#888888'),
      'other-twin': square('#999999'),
    },
    aliases: { sun: { parent: 'star' }, moon: { parent: 'star', hFlip: true } },
    width: 4,
    height: 4,
  },
};

const options = { side: SIDE, note: 'squares', force: false, distinct: false };

const setsIn = (folder: string, of: object = files) =>
  Object.entries(of).map(([name, content]) => {
    mkdirSync(join(folder, name), { recursive: true });
    writeFileSync(join(folder, name, 'icons.json'), JSON.stringify(content));
    return openIconSet(name, `designer of ${name}`, join(folder, name, 'icons.json'));
  });

test('an emoji is what several sets draw, whatever each calls it; skin colours are no emoji', (t) => {
  const classes = emojiOf(setsIn(testFolder(t)), 2);
  assert.deepEqual(
    classes.map(({ name, drawings }) => [name, ...drawings.values()]),
    [
      ['boy', 'boy', 'boy'],
      ['other-twin', 'other-twin', 'other-twin'],
      ['police-car-light', 'police-car-light', 'police-car-light'],
      ['red-heart', 'red-heart', 'redheart'],
      ['star', 'sun', 'star'],
      ['twin', 'twin', 'twin'],
    ],
  );
  // a mirrored drawing is another picture: it does not make the moon a star
  assert.ok(emojiOf(setsIn(testFolder(t)), 1).some(({ name }) => name === 'moon'));
});

test('emoji are drawn in colour on white, pictures that two emoji of a set share are skipped', async (t) => {
  const folder = testFolder(t);
  const sets = setsIn(folder);
  const build = (name: string, drawings: number) =>
    buildIcons(sets, emojiOf(sets, drawings), { ...options, prefix: join(folder, name), drawings });
  const made = await build('both', 2);
  assert.deepEqual([made.classes, made.images, made.families], [4, 8, 2], 'the twins have one drawing that counts');
  using dataset = openDataset(join(folder, 'both'));
  assert.deepEqual([...dataset.labels()], [0, 0, 1, 1, 2, 2, 3, 3]);
  assert.deepEqual([...dataset.families()!], [0, 1, 0, 1, 0, 1, 0, 1]);
  const { classes, imageDigest } = readSidecar(join(folder, 'both'));
  assert.deepEqual(classes, ['boy', 'police-car-light', 'red-heart', 'star']);
  assert.equal(imageDigest, made.imageDigest);
  const ids = readFileSync(join(folder, 'both.ids.jsonl'), 'utf8');
  assert.ok(ids.includes('second/redheart'), ids);
  // the star of the first set: red where its square is, white elsewhere
  const { pixels, height, width } = await decode(dataset.record(6).image);
  assert.deepEqual([height, width], [SIDE, SIDE]);
  const at = (x: number, y: number): number[] => [...pixels.subarray(3 * (y * SIDE + x), 3 * (y * SIDE + x) + 3)];
  assert.deepEqual([at(0, 0), at(3, 3), at(4, 3), at(7, 7)], [[255, 0, 0], [255, 0, 0], [255, 255, 255], [255, 255, 255]]); // biome-ignore format: four pixels
  // a drawing with a size of its own and a link to another part of it
  const boy = await decode(dataset.record(1).image);
  assert.deepEqual([boy.pixels[0], boy.pixels[3 * (1 * SIDE + 1)], boy.pixels[3 * (3 * SIDE + 3)]], [255, 51, 255]);
  const again = await build('again', 2);
  assert.equal(again.imageDigest, made.imageDigest);
  assert.deepEqual(readFileSync(join(folder, 'again.rec')), readFileSync(join(folder, 'both.rec')));
});

test('a pictogram is what several sets draw, without words of style and sizes, whichever synonyms they take', (t) => {
  const icons = (...names: string[]) => ({ icons: Object.fromEntries(names.map((name) => [name, square('#000')])) });
  const sets = setsIn(testFolder(t), {
    first: icons('outline-home', 'home-outline-24', 'home', 'gear', 'arrow-left', 'line', 'x-16', 'circle-add'),
    second: icons(
      'house-fill',
      'house-fill-thin',
      'settings-24px',
      'arrow-right-line',
      'outline',
      'close',
      'plus-circle-o',
    ),
  });
  assert.deepEqual(
    pictogramsOf(sets, 2).map(({ name, drawings }) => [name, ...drawings.values()]),
    [
      ['circle-add', 'circle-add', 'plus-circle-o'],
      ['close', 'x-16', 'close'],
      ['gear', 'gear', 'settings-24px'],
      ['home', 'home', 'house-fill'],
    ],
  );
  assert.deepEqual(
    pictogramsOf(sets, 1).map(({ name }) => name),
    ['arrow-left', 'arrow-right', 'circle-add', 'close', 'gear', 'home', 'line', 'outline'],
  );
});

test('pictures that two sets share are skipped where a data set asks for it', async (t) => {
  const folder = testFolder(t);
  const [a, b, c, d] = ['#000001', '#000002', '#000003', '#000004'].map(square);
  const sets = setsIn(folder, {
    first: { icons: { sun: a, moon: b, star: c }, width: 4, height: 4 },
    second: { icons: { sun: a, moon: c, star: d }, width: 4, height: 4 }, // the sun is copied, its moon is another's star
    third: { icons: { sun: b, moon: d, star: a }, width: 4, height: 4 },
    fourth: {
      icons: { sun: square('#000005'), moon: square('#000006'), star: square('#000007') },
      width: 4,
      height: 4,
    },
  });
  const build = async (name: string, distinct: boolean) => {
    const prefix = join(folder, name);
    const made = await buildIcons(sets, pictogramsOf(sets, 1), { ...options, prefix, distinct, drawings: 1 });
    return [made.images, readFileSync(`${prefix}.ids.jsonl`, 'utf8').includes('first/')];
  };
  assert.deepEqual(await build('distinct', true), [3, false]);
  assert.deepEqual(await build('all', false), [12, true]);
});

test('a file that is no set of icons is named', (t) => {
  const folder = testFolder(t);
  writeFileSync(join(folder, 'icons.json'), '{"icons": {"a": {"bodies": 1}}}');
  assert.throws(
    () => openIconSet('x', 'x', join(folder, 'icons.json')),
    /icons\.json: is not a set of icons[\s\S]*fetch the data set again/,
  );
});
