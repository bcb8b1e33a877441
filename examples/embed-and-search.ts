// Embeds the pictures of a folder, and finds those that look most like one picture.
//
//   npx tsx embed-and-search.ts RUN FOLDER PICTURE
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadModel } from 'mixbct';

/** Pictures in memory at a time. */
const AT_ONCE = 64;
const SHOWN = 5;

const [run, folder, picture] = process.argv.slice(2);
if (!run || !folder || !picture) throw new Error('wanted: RUN FOLDER PICTURE');

using model = await loadModel(run);
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.(jpe?g|png|webp)$/i.test(name))
  .sort()
  .map((name) => join(folder, name));

const gallery = new Float32Array(files.length * model.dim);
for (let at = 0; at < files.length; at += AT_ONCE)
  gallery.set(await embed(files.slice(at, at + AT_ONCE)), at * model.dim);
const query = await embed([picture]);

const found = files
  .map((file, i) => ({ file, cosine: query.reduce((sum, x, d) => sum + x * gallery[i * model.dim + d]!, 0) }))
  .sort((a, b) => b.cosine - a.cosine);
for (const { file, cosine } of found.slice(0, SHOWN)) console.log(cosine.toFixed(4), file);

/** Embeddings of length 1, flat [B · D]. */
async function embed(paths: readonly string[]): Promise<Float32Array> {
  const rows = await model.embed(await model.read(paths));
  for (let at = 0; at < rows.length; at += model.dim) {
    const row = rows.subarray(at, at + model.dim);
    const length = Math.hypot(...row);
    for (const d of row.keys()) row[d]! /= length;
  }
  return rows;
}
