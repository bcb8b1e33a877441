import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { packageRoot } from '../../src/base/version.ts';
import { suiteFolder, testFolder } from './folder.ts';

/** The code that a page of docs/ tells: its first block of TypeScript, whose first line names the file. */
export function pageCode(page: string): { readonly file: string; readonly code: string } {
  const text = readFileSync(join(packageRoot, 'docs', page), 'utf8');
  const [, file, code] = /^```ts\n\/\/ (src\/\S+\.ts)\n(.*?)^```/ms.exec(text) ?? [];
  assert.ok(file !== undefined && code !== undefined, `${page} has no block that begins with "// src/…"`);
  return { file, code };
}

/** Checks the types of a page's code as part of this package, compiles it, and imports it with this package's compiled modules. */
export const loadPage = <Exports>(t: TestContext, page: string): Promise<Exports> => loadInto(testFolder(t), page);

/** The same for tests that have the page's code in common. */
export const loadPageOnce = <Exports>(page: string): Promise<Exports> => loadInto(suiteFolder(), page);

async function loadInto<Exports>(root: string, page: string): Promise<Exports> {
  const { file, code } = pageCode(page);
  const name = join(root, 'page.ts');
  const importsFrom = (base: string, extension: string): string =>
    code.replace(
      /from '(\.[^']+)\.ts'/g,
      (_, path: string) => `from '${base}/${posix.join(posix.dirname(file), path)}${extension}'`,
    );
  symlinkSync(join(packageRoot, 'node_modules'), join(root, 'node_modules'));
  const { compilerOptions } = JSON.parse(readFileSync(join(packageRoot, 'tsconfig.json'), 'utf8'));
  const tsc = (about: string, options: Readonly<Record<string, unknown>>): void => {
    writeFileSync(
      join(root, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: { ...compilerOptions, ...options },
        files: ['page.ts', join(packageRoot, 'src/data/glyphs/fontkit.d.ts')],
      }),
    );
    const { stdout } = spawnSync(process.execPath, [join(packageRoot, 'node_modules/typescript/bin/tsc'), '-p', root], {
      encoding: 'utf8',
    });
    assert.equal(stdout, '', `${page}: ${about}`);
  };
  writeFileSync(name, importsFrom(packageRoot, '.ts'));
  writeFileSync(join(root, 'package.json'), '{ "type": "module" }');
  tsc('types', { noEmit: true, rootDir: '/', rewriteRelativeImportExtensions: false });
  writeFileSync(name, importsFrom(pathToFileURL(join(packageRoot, 'dist')).href, '.js'));
  tsc('compilation', { noCheck: true, noResolve: true, sourceMap: false, rootDir: '.', outDir: 'out' });
  return (await import(pathToFileURL(join(root, 'out/page.js')).href)) as Exports;
}
