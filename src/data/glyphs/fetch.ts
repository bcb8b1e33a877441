import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { codeOf, UserError } from '../../base/errors.ts';
import { progress } from '../../base/progress.ts';

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
  if (status === 0) return;
  const what = typeof status === 'number' ? `ended with ${status}` : status;
  throw new UserError(`${program} ${args[0]} ${what}\n${output.trim().split('\n').slice(-5).join('\n')}`, { hint });
}

/** Installs npm packages (`name@version`) under `folder`; what is there already is not fetched again. */
export async function fetchNpm(packages: readonly string[], folder: string): Promise<void> {
  const home = resolve(folder);
  const versionOf = (spec: string): string | null => {
    const manifest = join(home, 'node_modules', spec.slice(0, spec.lastIndexOf('@')), 'package.json');
    return existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')).version : null;
  };
  if (packages.every((spec) => versionOf(spec) === spec.slice(spec.lastIndexOf('@') + 1))) return;
  mkdirSync(home, { recursive: true });
  const bar = progress('fetch typefaces', packages.length);
  const flags = ['--prefix', home, '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await run('npm', ['install', ...flags, ...packages], {
    cwd: home,
    hint: 'the npm registry must be reachable once; run the same command again to go on',
  });
  bar.update(packages.length);
  bar.stop();
}

/** Downloads Debian packages and unpacks each to `folder/<package>`; installs nothing, needs no root, goes on where it stopped. */
export async function fetchDebian(packages: readonly string[], folder: string): Promise<void> {
  const home = resolve(folder);
  mkdirSync(home, { recursive: true });
  const bar = progress('fetch typefaces', packages.length);
  const hint =
    'this set comes from Debian packages: it needs apt-get, dpkg-deb and a reachable mirror (apt-get update once); run the same command again to go on';
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
  bar.stop();
}
