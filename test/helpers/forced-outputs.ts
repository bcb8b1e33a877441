import { lstatSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileDigest } from '../../src/artifacts/digest.ts';
import { mixbct } from './cli.ts';
import { type Writer, writers } from './writers.ts';

/** Every name below a folder, with what a file holds. */
function snapshot(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => `${name} ${lstatSync(join(folder, name)).isFile() ? fileDigest(join(folder, name)) : ''}`);
}

/** Outputs that no command may make, with or without --force. */
const placesOfOthers = (makes: Writer['makes']): Record<string, string> => ({
  'inside an artefact': 'features/inside',
  ...(makes === 'folder' && { 'the name of a data set': 'set', 'a folder of the name of a data set': 'set/inside' }),
});

/** Outputs that --force must not replace, as arguments of a command. Makes what stands there. */
function places(folder: string, name: string, { makes, inputs, last }: Writer): Record<string, string> {
  const put = (path: string): void => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), 'irreplaceable');
  };
  if (name === 'run') {
    put('strange/old/wedding.jpg');
    return { 'a folder of somebody else at a stage': 'strange' };
  }
  if (makes === 'files') {
    put(`strange${last ?? '.html'}`);
    return { 'a file of somebody else': 'strange' };
  }
  if (makes === 'set') {
    put(`strange${last}`);
    return { 'a file of somebody else': 'strange' };
  }
  put('strange/wedding.jpg');
  symlinkSync('features', join(folder, 'link'));
  const own = inputs.filter((input) => lstatSync(join(folder, input), { throwIfNoEntry: false })?.isDirectory());
  return {
    'a folder of somebody else': 'strange',
    'the current folder': '.',
    'the current folder by its path': folder,
    'a link': 'link',
    ...Object.fromEntries(own.map((input) => [`its input ${input}`, input])),
  };
}

/** Gives a command, with --force, outputs that it must not replace. → what it did not refuse, or changed */
export function forcedOutputs(folder: string, name: string): { readonly tried: number; readonly lost: string[] } {
  const lost: string[] = [];
  const writer = writers[name]!;
  const pictures = writer.inputs.filter((input) => ['photos', 'ijb'].includes(input));
  const all = Object.entries({
    ...places(folder, name, writer),
    ...placesOfOthers(writer.makes),
    ...Object.fromEntries(pictures.map((input) => [`inside its input ${input}`, `${input}/inside`])),
  });
  for (const [what, out] of all) {
    const before = snapshot(folder);
    const { code, err } = mixbct(folder, ...writer.make(out), '--force');
    if (
      code !== 2 ||
      !/nothing else is replaced|never replaced|is not followed|lies inside|name of a data set/.test(err)
    )
      lost.push(`${what}: exit code ${code}: ${err.slice(-300)}`);
    const after = new Set(snapshot(folder));
    const gone = before.filter((line) => !after.has(line));
    if (gone.length > 0) lost.push(`${what}: ${gone.slice(0, 3)} changed`);
    if (name !== 'run' && after.size !== before.length) lost.push(`${what}: left something`);
  }
  for (const left of readdirSync(folder))
    if (/^\.?(strange|link)/.test(left)) rmSync(join(folder, left), { recursive: true });
  return { tried: all.length, lost };
}
