// Debian's Chromium, in which tests look at pages.
import { existsSync } from 'node:fs';
import { attempt, canApt, say } from './shell.mjs';

/** Installs the browser if we may. Without it the tests of pages are skipped by name. */
export function offerBrowser() {
  const path = process.env.CHROMIUM ?? '/usr/bin/chromium';
  if (existsSync(path)) return;
  const command = 'apt-get install -y --no-install-recommends chromium';
  if (!canApt()) return say(`no browser at ${path}: the tests of pages are skipped (${command})`);
  say(`no browser for the tests of pages: ${command}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () => attempt('sh', ['-c', command], { env }).ok;
  if (install() || (attempt('apt-get', ['update'], { env }).ok && install())) return;
  say('it cannot be installed: the tests of pages are skipped');
}
