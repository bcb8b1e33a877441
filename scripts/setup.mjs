// Makes an untouched clone ready: packages, libtorch, the two addons, the compiled TypeScript. Runs on bare Node, says
// each step, and does nothing when nothing changed. `npm test` and `npm run quickstart` call it first. Of the installed
// package (`npx mixbct setup`) it builds the addons only: npm has installed the rest.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { findLibtorch } from './setup/libtorch.mjs';
import { buildAddons } from './setup/native.mjs';
import places from './setup/places.cjs';
import { fail, root, run, say } from './setup/shell.mjs';

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19))
  fail(`Node ${process.versions.node} is too old`, 'install Node 20.19 or newer');

if (places.isCheckout) installPackages();
const libtorch = findLibtorch();
say(`libtorch ${libtorch.version} (${libtorch.origin}) in ${libtorch.lib}`);
await buildAddons(libtorch);
if (!places.isCheckout) say(`ready: the addons are in ${places.build}`);
else run('compile TypeScript', process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);

function installPackages() {
  const wanted = join(root, 'package-lock.json');
  const installed = join(root, 'node_modules/.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return;
  say('install npm packages');
  process.env.ONNXRUNTIME_NODE_INSTALL ??= 'skip'; // its CPU library is in the package: npm 10 would fetch the CUDA one
  run('npm ci', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}
