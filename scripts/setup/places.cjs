// Where things are that are not part of the sources, for the set-up scripts and for src/base/addon.ts. A checkout keeps them
// inside itself. The installed package keeps them in a cache folder of the user, because npm replaces the package's own folder.
const { existsSync, readFileSync } = require('node:fs');
const { homedir } = require('node:os');
const { join, resolve } = require('node:path');

const root = resolve(__dirname, '../..');
/** What `npm pack` leaves out. */
const isCheckout = existsSync(join(root, 'tsconfig.json'));

const { env, platform, arch } = process;
/** The cache folder of the user. */
const home = () => env.MIXBCT_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'mixbct');

function placesOfPackage() {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return { libtorch: join(home(), 'libtorch'), build: join(home(), `addons-${version}-${platform}-${arch}`) };
}

module.exports = {
  root,
  isCheckout,
  home,
  /** libtorch: what pip installs; build: the compiled addons. */
  ...(isCheckout ? { libtorch: join(root, '.libtorch'), build: join(root, 'build') } : placesOfPackage()),
  setupCommand: isCheckout ? 'npm run setup' : 'npx mixbct setup',
};
