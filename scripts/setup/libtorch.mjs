// Finds libtorch, or installs it. Order: $LIBTORCH · the torch of the active python3 · a copy that pip installed
// (inside a checkout, or in the package's cache folder) ·
// Debian's libtorch-dev. MIXBCT_LIBTORCH=wheel|cuda|debian asks for one of them.
import { existsSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import places from './places.cjs';
import { aptInstall, attempt, canApt, fail, say } from './shell.mjs';

const WHEELS = { wheel: 'torch==2.13.0+cpu', cuda: 'torch==2.14.1' };
const DEBIAN_LIBS = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib'];

/** @returns {{ version: string, origin: string, lib: string, includes: string[], cxx11Abi: boolean }} */
export function findLibtorch() {
  const wish = process.env.MIXBCT_LIBTORCH;
  if (wish && !['wheel', 'cuda', 'debian'].includes(wish))
    fail(`MIXBCT_LIBTORCH=${wish} is not known`, 'use wheel, cuda or debian, or unset it');
  if (process.env.LIBTORCH)
    return (
      describe(process.env.LIBTORCH, '$LIBTORCH') ??
      fail(
        `LIBTORCH=${process.env.LIBTORCH} holds no libtorch`,
        'point it at a folder with include/ and lib/, or unset it',
      )
    );
  if (wish === 'debian') return fromDebian();
  if (wish)
    return fromWheel(wish) ?? fail(`pip cannot install ${WHEELS[wish]}`, 'see the lines above, or set LIBTORCH');
  return fromPython() ?? fromWheel('wheel') ?? fromDebian();
}

/** What a libtorch root (include/ and lib/, or Debian's /usr) holds, or null if it is none. */
function describe(folder, origin) {
  const prefix = existsSync(folder) ? realpathSync(folder) : folder;
  const include = join(prefix, 'include');
  const api = join(include, 'torch/csrc/api/include');
  const lib = [join(prefix, 'lib'), ...(prefix === '/usr' ? DEBIAN_LIBS : [])].find((at) =>
    existsSync(join(at, 'libtorch_cpu.so')),
  );
  const header = join(api, 'torch/version.h');
  if (!lib || !existsSync(header)) return null;
  const headless = join(include, 'torch/headeronly/version.h');
  const text = [header, headless].map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')).join('\n');
  const part = (name) => text.match(new RegExp(`define TORCH_VERSION_${name} (\\d+)`))?.[1];
  const version = [part('MAJOR'), part('MINOR'), part('PATCH')].join('.');
  // naming /usr/include as a folder of ours would hide the C library's headers from the C++ ones
  const includes = prefix === '/usr' ? [api] : [include, api];
  return { version, origin, lib, includes, cxx11Abi: true };
}

function fromPython() {
  const probe = 'import torch,os;print(os.path.dirname(torch.__file__));print(int(torch._C._GLIBCXX_USE_CXX11_ABI))';
  const { ok, out } = attempt('python3', ['-c', probe]);
  if (!ok) return null;
  const [folder, abi] = out.trim().split('\n');
  const found = describe(folder, 'the torch of python3');
  return found && { ...found, cxx11Abi: abi === '1' };
}

function fromWheel(kind) {
  const target = join(places.libtorch, kind);
  const found = () => describe(join(target, 'torch'), `${WHEELS[kind]} of pip`);
  if (found()) return found();
  if (!attempt('python3', ['-m', 'pip', '--version']).ok) {
    say('no pip here, so no wheel');
    return null;
  }
  // Where the package index has no build named "+cpu", the plain release is asked for with all it depends on.
  const part = `${target}.${process.pid}.part`; // several processes may install at once
  const plain = WHEELS[kind].replace('+cpu', '');
  const attempts = [['--no-deps', WHEELS[kind]], ...(plain === WHEELS[kind] ? [] : [[plain]])];
  for (const args of attempts) {
    say(`install ${args.at(-1)} into ${target} (about 200 MB; once)`);
    rmSync(part, { recursive: true, force: true });
    const pip = ['-m', 'pip', 'install', '-q', '--no-warn-conflicts', '--disable-pip-version-check', '--retries', '1'];
    const result = attempt('python3', [...pip, '--target', part, ...args]);
    if (result.ok && describe(join(part, 'torch'), '')) {
      rmSync(target, { recursive: true, force: true });
      renameSync(part, target);
      return found();
    }
    say(
      `pip: ${(
        result.err
          .trim()
          .split('\n')
          .filter((line) => /error/i.test(line))
          .at(-1) ?? 'no libtorch in the wheel'
      ).trim()}`,
    );
  }
  rmSync(part, { recursive: true, force: true });
  return null;
}

function fromDebian() {
  const found = () => describe('/usr', "Debian's libtorch-dev");
  const hasBlas = DEBIAN_LIBS.some(
    (at) => existsSync(at) && readdirSync(at).some((name) => name === 'openblas-pthread'),
  );
  if (found() && hasBlas) return found();
  const why = found() ? 'libtorch without a fast BLAS' : 'no libtorch found';
  if (!canApt() && found()) return found();
  aptInstall(['libtorch-dev', 'libopenblas0-pthread'], why);
  return found() ?? fail("Debian's libtorch-dev holds no libtorch", 'set LIBTORCH to a folder with include/ and lib/');
}
