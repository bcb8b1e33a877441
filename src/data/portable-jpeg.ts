import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { JpegCodec } from './native-image.ts';

/** The exports of libjpeg-turbo in WebAssembly, from the package @cwasm/jpeg-turbo. Addresses are numbers. */
type TurboJpeg = {
  readonly memory: WebAssembly.Memory;
  malloc(bytes: number): number;
  free(address: number): void;
  tjInitDecompress(): number;
  tjDestroy(handle: number): number;
  tjDecompressHeader3(handle: number, source: number, bytes: number, width: number, height: number, subsampling: number, colourspace: number): number; // biome-ignore format: as in turbojpeg.h
  tjDecompress2(handle: number, source: number, bytes: number, target: number, width: number, pitch: number, height: number, format: number, flags: number): number; // biome-ignore format: as in turbojpeg.h
};

// turbojpeg.h
const [TJPF_RGB, TJPF_CMYK] = [0, 11];
const [TJCS_CMYK, TJCS_YCCK] = [3, 4];

const nothing = (): number => 0;
const unwind = (): never => {
  throw new Error('the JPEG is damaged');
};

let module: WebAssembly.Module | undefined;
let current: TurboJpeg | undefined;

function instance(): TurboJpeg {
  const path = createRequire(import.meta.url).resolve('@cwasm/jpeg-turbo/jpeg-turbo.wasm');
  module ??= new WebAssembly.Module(readFileSync(path));
  current ??= new WebAssembly.Instance(module, {
    env: { setjmp: nothing, longjmp: unwind },
    wasi_snapshot_preview1: {
      environ_sizes_get: nothing,
      environ_get: unwind,
      proc_exit: unwind,
      fd_close: unwind,
      fd_seek: unwind,
      fd_write: unwind,
    },
  }).exports as TurboJpeg;
  return current;
}

/** Decodes in WebAssembly, with the bits of the addon. After an error the instance's stack is undefined: the next image gets a new one. */
export const portableJpeg: JpegCodec = (bytes, target, offset, capacity) => {
  try {
    return decode(instance(), bytes, target, offset, capacity);
  } catch (error) {
    current = undefined;
    throw error;
  }
};

function decode(turbo: TurboJpeg, bytes: Uint8Array, target: Uint8Array, offset: number, capacity: number) {
  const source = allocate(turbo, bytes.length);
  new Uint8Array(turbo.memory.buffer).set(bytes, source);
  const handle = turbo.tjInitDecompress();
  const words = allocate(turbo, 16);
  if (turbo.tjDecompressHeader3(handle, source, bytes.length, words, words + 4, words + 8, words + 12) !== 0)
    throw new Error('the JPEG has a damaged header');
  const [width, height, , colourspace] = new Int32Array(turbo.memory.buffer, words, 4) as unknown as number[];
  const channels = colourspace === TJCS_CMYK || colourspace === TJCS_YCCK ? 4 : 3;
  const size = width! * height! * channels;
  if (size <= capacity) {
    const pixels = allocate(turbo, size);
    const format = channels === 4 ? TJPF_CMYK : TJPF_RGB;
    if (turbo.tjDecompress2(handle, source, bytes.length, pixels, width!, 0, height!, format, 0) !== 0)
      throw new Error('the JPEG has damaged data');
    target.set(new Uint8Array(turbo.memory.buffer, pixels, size), offset);
    turbo.free(pixels);
  }
  turbo.tjDestroy(handle);
  turbo.free(words);
  turbo.free(source);
  return [height!, width!, channels] as const;
}

function allocate(turbo: TurboJpeg, bytes: number): number {
  const address = turbo.malloc(bytes);
  if (address === 0 && bytes > 0) throw new Error(`no memory for ${bytes} bytes`);
  return address;
}
