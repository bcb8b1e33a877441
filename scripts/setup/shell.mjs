// What the set-up scripts share: the root folder, printing, and running programs.
import { spawnSync } from 'node:child_process';
import places from './places.cjs';

export const { root } = places;

export const say = (text) => process.stderr.write(`setup: ${text}\n`);

/** Stops with one sentence of what is wrong and one of what to do. */
export function fail(problem, remedy) {
  process.stderr.write(`setup: ${problem}\n  what to do: ${remedy}\n`);
  process.exit(2);
}

/** Runs a program quietly; on failure shows the end of its output and stops. */
export function run(what, program, args, options = {}) {
  const result = attempt(program, args, options);
  if (result.ok) return result.out;
  process.stderr.write(`${result.out}${result.err}`.split('\n').slice(-30).join('\n'));
  fail(
    `${what} failed: ${program} ${args.join(' ')}`,
    'read the lines above, mend the cause and run the command again',
  );
}

/** Runs a program and tells how it went. */
export function attempt(program, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    cwd: root,
    ...options,
  });
  return { ok: status === 0, out: stdout ?? '', err: error ? String(error) : (stderr ?? '') };
}

/** Installs Debian packages if we may; otherwise stops with the one command to run. */
export function aptInstall(packages, why) {
  const command = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!canApt()) fail(why, `run: sudo ${command}`);
  say(`${why}: ${command}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  if (attempt('sh', ['-c', command], { env }).ok) return;
  run('apt-get update', 'apt-get', ['update'], { env });
  run('apt-get install', 'sh', ['-c', command], { env });
}

export const canApt = () => process.getuid?.() === 0 && attempt('apt-get', ['--version']).ok;
