import { aten } from './aten.ts';
import { defaultDevice } from './device.ts';
import { native, whenLoaded } from './native.ts';
import type { Dtype, Generator, HostTensor, Tensor } from './tensor-types.ts';

whenLoaded((addon) => {
  const property = <T>(read: (of: T) => unknown, write?: (of: T, value: never) => void): PropertyDescriptor => ({
    get(this: T) {
      return read(this);
    },
    ...(write && {
      set(this: T, value: never) {
        write(this, value);
      },
    }),
  });
  const method = <T>(call: (of: T, ...rest: never[]) => unknown): PropertyDescriptor => ({
    value(this: T, ...rest: never[]) {
      return call(this, ...rest);
    },
  });

  Object.defineProperties(addon.Tensor.prototype, {
    shape: property(addon.shape),
    strides: property(addon.strides),
    dtype: property(addon.dtype),
    device: property(addon.device),
    numel: property(addon.numel),
    isDisposed: property(addon.isDisposed),
    requiresGrad: property(addon.requiresGrad),
    grad: property(addon.gradient, addon.setGradient),
    item: method((x: Tensor) => addon.item(x)), // looked up at each call, so that tests can count them
    dispose: method(addon.dispose),
    [Symbol.dispose]: method(addon.dispose),
  });
  Object.defineProperties(addon.Generator.prototype, {
    state: property(addon.generatorState, addon.setGeneratorState),
    seed: method(addon.seed),
  });
});

export const isTensor = (value: unknown): value is Tensor => native.isTensor(value);

type TypedArray =
  | Float32Array
  | Float64Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint16Array;

function dtypeOf(data: TypedArray): Dtype {
  if (data instanceof Float32Array) return 'float32';
  if (data instanceof Float64Array) return 'float64';
  if (data instanceof BigInt64Array) return 'int64';
  if (data instanceof Int32Array) return 'int32';
  if (data instanceof Int16Array) return 'int16';
  if (data instanceof Int8Array) return 'int8';
  if (data instanceof Uint8Array) return 'uint8';
  return 'float16';
}

export type FromArrayOptions = { readonly shape?: readonly number[]; readonly dtype?: Dtype };

/**
 * A new tensor with a copy of `data`, on the home device. A plain array becomes float32 unless `dtype` says float64 or int64. A typed array
 * keeps its type; `dtype` may reinterpret bytes of equal size (Uint16Array as float16 or bfloat16, Uint8Array as bool).
 */
export function tensor(data: TypedArray | readonly number[], { shape, dtype }: FromArrayOptions = {}): Tensor {
  const typed = isTyped(data) ? data : typedOf(data, dtype ?? 'float32');
  const here = native.fromArray(typed, dtype ?? dtypeOf(typed), shape ?? [data.length]);
  const there = atHome(here);
  if (there !== here) here.dispose();
  return there;
}

/**
 * A copy of a tensor of the CPU on the home device; the tensor itself where that is the CPU. What goes to a CUDA device is first
 * copied to page-locked memory: neither this thread nor the device waits for the transfer. libtorch keeps that memory until then.
 */
export function atHome(here: Tensor): Tensor {
  const device = defaultDevice();
  if (device === 'cpu') return here;
  if (!device.startsWith('cuda')) return aten['to.dtype_layout'](here, { device });
  const locked = aten.pin_memory(here);
  const there = aten['to.dtype_layout'](locked, { device, non_blocking: true });
  locked.dispose();
  return there;
}

/** A tensor over the memory of `data` itself, on the CPU, also of a SharedArrayBuffer: no copy, writes are seen on both sides. */
export function share(data: TypedArray, { shape, dtype }: FromArrayOptions = {}): Tensor {
  return native.shareArray(data, dtype ?? dtypeOf(data), shape ?? [data.length]);
}

const isTyped = (data: TypedArray | readonly number[]): data is TypedArray => ArrayBuffer.isView(data);

function typedOf(data: readonly number[], dtype: Dtype): TypedArray {
  switch (dtype) {
    case 'float32':
      return Float32Array.from(data);
    case 'float64':
      return Float64Array.from(data);
    case 'int64':
      return BigInt64Array.from(data, BigInt);
    case 'int32':
      return Int32Array.from(data);
    case 'uint8':
    case 'bool':
      return Uint8Array.from(data);
    default:
      throw new TypeError(`tensor: give a typed array for dtype ${dtype}`);
  }
}

function copied<A extends ArrayBufferView>(from: Tensor, wanted: readonly Dtype[], make: (length: number) => A): A {
  if (!wanted.includes(from.dtype))
    throw new TypeError(
      `tensor of ${from.dtype} [${from.shape.join(', ')}]: wanted ${wanted.join(' or ')}; convert it with to()`,
    );
  const array = make(from.numel);
  native.copyTo(from, array);
  return array;
}

/** The elements in row-major order. @throws TypeError if the tensor has another dtype. */
export const toFloat32 = (x: Tensor): Float32Array => copied(x, ['float32'], (n) => new Float32Array(n));
export const toFloat64 = (x: Tensor): Float64Array => copied(x, ['float64'], (n) => new Float64Array(n));
export const toInt64 = (x: Tensor): BigInt64Array => copied(x, ['int64'], (n) => new BigInt64Array(n));
export const toInt32 = (x: Tensor): Int32Array => copied(x, ['int32'], (n) => new Int32Array(n));
export const toUint8 = (x: Tensor): Uint8Array => copied(x, ['uint8', 'bool'], (n) => new Uint8Array(n));

/** Bytes of one element. */
export const BYTES: Readonly<Record<Dtype, number>> = {
  float64: 8,
  int64: 8,
  float32: 4,
  int32: 4,
  float16: 2,
  bfloat16: 2,
  int16: 2,
  int8: 1,
  uint8: 1,
  bool: 1,
};

/** The raw bytes of the elements in row-major order, whatever the dtype. */
export function toBytes(x: Tensor): Uint8Array {
  const bytes = new Uint8Array(x.numel * BYTES[x.dtype]);
  native.copyTo(x, bytes);
  return bytes;
}

/** A copy of a tensor outside of libtorch. */
export const hostTensor = (x: Tensor): HostTensor => ({ dtype: x.dtype, shape: [...x.shape], bytes: toBytes(x) });

/** The elements as plain numbers, whatever the dtype (int64 must fit a double). */
export function toNumbers(x: Tensor): number[] {
  if (x.dtype === 'float32') return Array.from(toFloat32(x));
  if (x.dtype === 'float64') return Array.from(toFloat64(x));
  if (x.dtype === 'int64') return Array.from(toInt64(x), Number);
  if (x.dtype === 'int32') return Array.from(toInt32(x));
  return Array.from(toUint8(x));
}

/** A new seeded generator. */
export const generator = (seed: number): Generator => native.generator(seed);

/** libtorch's default generator. */
export const defaultGenerator = (): Generator => native.defaultGenerator(defaultDevice());
