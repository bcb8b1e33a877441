// Builds native/torch and native/image into build/*.node, when a source, a flag or libtorch changed.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import places from './places.cjs';
import { aptInstall, attempt, canApt, fail, run, say } from './shell.mjs';

const { root, build } = places;
const compiler = process.env.CXX ?? 'g++';
const base = ['-std=c++20', '-fPIC', '-Wall', '-Wno-unknown-pragmas'];

export async function buildAddons(libtorch) {
  if (!attempt(compiler, ['--version']).ok) aptInstall(['g++'], `no C++ compiler (${compiler})`);
  mkdirSync(build, { recursive: true });
  const nccl = ncclIncludes(libtorch);
  const cuda = existsSync(join(libtorch.lib, 'libtorch_cuda.so'));
  await addon('torch', {
    compile: [
      '-O2',
      ...openMp(),
      `-D_GLIBCXX_USE_CXX11_ABI=${libtorch.cxx11Abi ? 1 : 0}`,
      ...libtorch.includes.flatMap((folder) => ['-isystem', folder]),
      '-DUSE_C10D_GLOO',
      ...['-idirafter', join(root, 'native/stubs')], // libtorch names Gloo's headers and does not ship them
      ...(nccl ? ['-DUSE_C10D_NCCL', ...nccl.flatMap((folder) => ['-isystem', folder])] : []),
    ],
    link: [
      ...(cuda ? ['-Wl,--no-as-needed'] : []), // no symbol of ours is in libtorch_cuda, and Ubuntu's linker would leave it out
      `-L${libtorch.lib}`,
      '-ltorch',
      '-ltorch_cpu',
      '-lc10',
      ...(cuda ? ['-ltorch_cuda', '-lc10_cuda'] : []),
      '-ldl',
      `-Wl,-rpath,${libtorch.lib}`,
      '-Wl,--no-as-needed',
    ],
    identity: { version: libtorch.version, origin: libtorch.origin, lib: libtorch.lib },
  });
  const jpeg = hasTurbojpeg();
  await addon('image', {
    compile: ['-O3', ...(jpeg ? ['-DHAVE_TURBOJPEG'] : [])],
    link: jpeg ? ['-lturbojpeg'] : [],
    identity: { jpeg },
  });
}

/**
 * What makes libtorch's `parallel_for`, which is code in its headers, more than a loop. GCC's runtime is the one that libtorch brings, so it
 * is not linked again; Clang's calls are of another one.
 */
const openMp = () => (attempt(compiler, ['--version']).out.includes('clang') ? [] : ['-fopenmp']);

/** Folders with the headers of CUDA and NCCL, so that processes can communicate over it; null without them, or without CUDA. */
function ncclIncludes({ lib, includes }) {
  if (!existsSync(join(lib, 'libtorch_cuda.so'))) return null;
  const wheels = join(lib, '../../nvidia'); // pip puts NVIDIA's packages beside torch
  const beside = existsSync(wheels)
    ? readdirSync(wheels)
        .map((name) => join(wheels, name, 'include'))
        .filter((folder) => existsSync(folder))
    : [];
  const toolkit = join(process.env.CUDA_HOME ?? '/usr/local/cuda', 'include'); // the wheels lack what only nvcc ships
  if (existsSync(toolkit)) beside.push(toolkit);
  const folders = [...includes, ...beside].flatMap((folder) => ['-isystem', folder]);
  const header = 'torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp';
  const { ok } = attempt(compiler, [
    '-E',
    '-std=c++20',
    '-DUSE_C10D_NCCL',
    ...folders,
    '-x',
    'c++',
    '-include',
    header,
    '/dev/null',
  ]);
  if (!ok)
    say(
      'no headers of CUDA and NCCL: several processes use CPUs only (CPATH may name folders with nccl.h and cuda_runtime_api.h)',
    );
  return ok ? beside : null;
}

function hasTurbojpeg() {
  const found = () => attempt(compiler, ['-E', '-x', 'c++', '-include', 'turbojpeg.h', '/dev/null']).ok;
  if (found()) return true;
  const without = 'JPEG is decoded by a portable decoder, 2.5 times slower (apt: libturbojpeg0-dev)';
  if (canApt()) {
    const command = 'apt-get install -y --no-install-recommends libturbojpeg0-dev';
    say(`no libturbojpeg headers: ${command}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const install = () => attempt('sh', ['-c', command], { env }).ok;
    if (install() || (attempt('apt-get', ['update'], { env }).ok && install())) return found();
    say(`it cannot be installed: ${without}`);
  } else say(`no libturbojpeg headers: ${without}`);
  return false;
}

/** Compiles each source of native/<name> apart, as many at a time as there are cores (each takes a gigabyte of memory), and links them. */
async function addon(name, { compile, link, identity }) {
  const folder = join(root, 'native', name);
  const files = readdirSync(folder).sort();
  const sources = files.filter((file) => file.endsWith('.cc'));
  const { version, lib, jpeg } = identity;
  // the same sources and the same libtorch make the same addon, wherever the sources are
  const facts = JSON.stringify({ compiler, base, compile, link, version, lib, jpeg }).replaceAll(
    join(root, 'native'),
    'native',
  );
  const hash = createHash('sha256').update(facts);
  for (const file of files) hash.update(file).update(readFileSync(join(folder, file)));
  const digest = hash.digest('hex');
  const [target, stampFile] = [join(build, `${name}.node`), join(build, `${name}.json`)];
  if (existsSync(target) && existsSync(stampFile) && JSON.parse(readFileSync(stampFile, 'utf8')).digest === digest)
    return;
  say(`build the ${name} addon in ${build} (${sources.length} files)`);
  const flags = [...base, '-I', createRequire(import.meta.url)('node-api-headers').include_dir, ...compile];
  const part = join(build, `${name}.${process.pid}`); // several processes may build at once
  const objectOf = (file) => `${part}.${file}.o`;
  const waiting = [...sources];
  const compileNext = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift())
      await compileOne([...flags, '-c', join(folder, file), '-o', objectOf(file)]);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, compileNext));
  const objects = sources.map(objectOf);
  run(`link ${name}`, compiler, ['-shared', ...objects, '-o', `${part}.node`, ...link]);
  for (const object of objects) rmSync(object);
  renameSync(`${part}.node`, target);
  writeFileSync(stampFile, JSON.stringify({ ...identity, digest }));
}

function compileOne(args) {
  return new Promise((resolve) => {
    let output = '';
    const child = spawn(compiler, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
    child.on('error', (error) => fail(`cannot run ${compiler}: ${error.message}`, 'install g++ 12 or newer'));
    child.on('close', (code) => {
      if (output) process.stderr.write(output);
      if (code !== 0) fail(`${compiler} ended with ${code} on ${args.at(-3)}`, 'read the lines above');
      resolve();
    });
  });
}
