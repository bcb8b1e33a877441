import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DiskFullError, toDiskFullError } from '../artifacts/durable-write.ts';
import { lockOutput } from '../artifacts/output-lock.ts';
import { codeOf, UserError } from '../base/errors.ts';
import { type Progress, progress } from '../base/progress.ts';

/** npm warns of a file that it could not write, and still ends with 0. */
const DISK_FULL = /no space left on device|ENOSPC|EDQUOT/i;

/** Runs a program and returns when it ends well. @throws UserError with the last lines it wrote. */
async function run(
  program: string,
  args: readonly string[],
  { cwd, hint }: { readonly cwd: string; readonly hint: string },
): Promise<void> {
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => {
      output = (output + text.toString()).slice(-2000);
    });
  const status = await new Promise<number | string>((resolve) => {
    child.on('error', (error) => resolve(codeOf(error) === 'ENOENT' ? 'is not installed' : error.message));
    child.on('close', (code, signal) => resolve(code ?? `was ended by ${signal}`));
  });
  if (DISK_FULL.test(output)) throw new DiskFullError(cwd, 'ENOSPC');
  if (status === 0) return;
  const what = typeof status === 'number' ? `ended with ${status}` : status;
  throw new UserError(`${program} ${args[0]} ${what}\n${output.trim().split('\n').slice(-5).join('\n')}`.trimEnd(), {
    hint,
  });
}

/** Runs `fetch` with a folder that is there and that no other process fetches into, and a display; what it fetched stays if it fails, folders without a file do not. */
async function fetchInto(home: string, files: number, fetch: (bar: Progress) => Promise<void>): Promise<void> {
  const made = mkdirSync(home, { recursive: true });
  const bar = progress('fetch packages', files);
  try {
    using _ = lockOutput(home);
    await fetch(bar);
  } catch (error) {
    const below = (folder: string) => readdirSync(folder, { recursive: true, withFileTypes: true });
    if (made && below(made).every((entry) => entry.isDirectory())) rmSync(made, { recursive: true });
    throw toDiskFullError(home, error);
  } finally {
    bar.stop();
  }
}

/** Installs npm packages (`name@version`) under `folder`; what is there already is not fetched again. */
export async function fetchNpm(packages: readonly string[], folder: string): Promise<void> {
  const home = resolve(folder);
  const isThere = (spec: string): boolean => {
    const at = spec.lastIndexOf('@');
    const manifest = join(home, 'node_modules', spec.slice(0, at), 'package.json');
    return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === spec.slice(at + 1);
  };
  if (packages.every(isThere)) return;
  // npm fills folders in place: they get their name when all are whole
  const scratch = join(home, '.npm.part');
  const flags = ['--prefix', scratch, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=warn'];
  await fetchInto(home, packages.length, async (bar) => {
    if (packages.every(isThere)) return; // another process has fetched them meanwhile
    rmSync(scratch, { recursive: true, force: true });
    mkdirSync(scratch);
    try {
      await run('npm', ['install', ...flags, ...packages], {
        cwd: scratch,
        hint: 'the npm registry must be reachable once; run the same command again to go on',
      });
      rmSync(join(home, 'node_modules'), { recursive: true, force: true });
      renameSync(join(scratch, 'node_modules'), join(home, 'node_modules'));
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
    bar.update(packages.length);
  });
}

/** Downloads Debian packages and unpacks each to `folder/<package>`; installs nothing, needs no root, goes on where it stopped. */
export async function fetchDebian(packages: readonly string[], folder: string): Promise<void> {
  const home = resolve(folder);
  const hint =
    'this set comes from Debian packages: it needs apt-get, dpkg-deb and a reachable mirror (apt-get update once); run the same command again to go on';
  await fetchInto(home, packages.length, async (bar) => {
    for (const [i, name] of packages.entries()) {
      const target = join(home, name);
      if (!existsSync(target)) {
        const [download, unpacked] = [join(home, `.${name}.download`), join(home, `.${name}.unpacked`)];
        for (const scratch of [download, unpacked]) rmSync(scratch, { recursive: true, force: true });
        mkdirSync(download);
        await run('apt-get', ['download', '-o', 'APT::Sandbox::User=root', name], { cwd: download, hint });
        const [file] = readdirSync(download);
        await run('dpkg-deb', ['-x', file!, unpacked], { cwd: download, hint });
        rmSync(download, { recursive: true });
        renameSync(unpacked, target);
      }
      bar.update(i + 1, name);
    }
  });
}
