import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { testFolder } from '../../test/helpers/folder.ts';
import { tinySet, trained, weights } from '../../test/helpers/runs.ts';
import { openDataset, pixelMappings, pixelPresets, stretched } from '../data/index.ts';
import { embedWith } from '../encoders/index.ts';
import { loadModel } from '../runs/load-model.ts';
import { parseRecipe } from '../runs/load-recipe.ts';
import { openEncoder } from '../runs/open-encoder.ts';

test('a recipe may declare the mapping of pixels: training follows it, and its encoder embeds with it', async (t) => {
  const { folder, dataset } = await tinySet(t);
  const at = (name: string): string => join(folder, name);
  const inputs = { plain: undefined, same: { mean: 127.5, std: 127.5 }, imagenet: { pixels: 'imagenet' } } as const;
  for (const [name, input] of Object.entries(inputs))
    await trained(dataset, at(name), { epochs: 1, ...(input && { input }) });
  assert.deepEqual(weights(at('same')), weights(at('plain')));
  assert.notDeepEqual(weights(at('imagenet')), weights(at('plain')));

  using encoder = await openEncoder(at('imagenet'));
  assert.deepEqual([encoder.pixels, encoder.resize], [pixelPresets.imagenet, stretched]);
  const images = Uint8Array.from({ length: 2 * encoder.side ** 2 * 3 }, (_, k) => 97 * k);
  const model = loadModel(at('imagenet'));
  const { side, pixels } = encoder;
  assert.deepEqual(await encoder.embed(images, 2), await embedWith(model, { side, pixels })(images, 2));
  model.dispose();
  await assert.rejects(openEncoder(at('imagenet'), { pixels: 'ijb' }), /declares its own mapping of pixels/);
  using plain = await openEncoder(at('same'), { pixels: 'ijb' });
  assert.equal(plain.pixels, pixelMappings.ijb);
});

test('training follows the resize rule of a recipe', async (t) => {
  const folder = testFolder(t);
  for (const [label, name] of ['a', 'b'].entries()) {
    mkdirSync(join(folder, 'set', name), { recursive: true });
    for (let i = 0; i < 8; i++) {
      const pixels = Uint8Array.from({ length: 16 * 32 * 3 }, (_, k) => (k * (3 + i) * (label + 1)) % 256);
      const file = join(folder, 'set', name, `${i}.png`);
      writeFileSync(
        file,
        await sharp(pixels, { raw: { width: 32, height: 16, channels: 3 } })
          .png()
          .toBuffer(),
      );
    }
  }
  using dataset = openDataset(join(folder, 'set'));
  const models = [];
  for (const input of [
    undefined,
    { resize: 'stretch' },
    { resize: 'crop' },
    { resize: 'fit', background: [9, 9, 9] },
  ]) {
    const out = join(folder, `run${models.length}`);
    await trained(dataset, out, { epochs: 1, batchSize: 4, ...(input && { input }) });
    models.push(weights(out)[0]!.toString('base64'));
  }
  assert.equal(models[0], models[1]);
  assert.equal(new Set(models).size, 3);
});

test('a mistake in the input of a recipe is named', () => {
  const recipe = (input: unknown) => parseRecipe({ network: { name: 'r18', embeddingDim: 4 }, input }, 'mine.yaml');
  assert.throws(
    () => recipe({ mean: 0.485, std: 0.229 }),
    /mine\.yaml: .*\n {2}input\.std: .*where pixels are 0 to 255/,
  );
  assert.throws(() => recipe({ resze: 'fit' }), /input\.resze: no such key; did you mean resize\?/);
});
