// float16 as .npy stores it: 1 sign bit, 5 exponent bits, 10 of the fraction. JavaScript has no array of it.

/** Largest finite number of float16; what is nearer to the next one becomes infinite. */
export const LARGEST_HALF = 65504;

/** Whether none of the numbers is too large for float16. */
export const fitsHalf = (numbers: Float32Array): boolean => numbers.every((x) => !(Math.abs(x) > LARGEST_HALF));

/** The number that each of the 65,536 bit patterns stands for. */
let decoded: Float32Array | undefined;

function table(): Float32Array {
  if (decoded) return decoded;
  decoded = new Float32Array(1 << 16);
  for (let bits = 0; bits < decoded.length; bits++) {
    const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
    const size =
      exponent === 31
        ? fraction === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN
        : exponent === 0
          ? fraction * 2 ** -24
          : (1024 + fraction) * 2 ** (exponent - 25);
    decoded[bits] = bits >> 15 ? -size : size;
  }
  return decoded;
}

/** The numbers of float16 bit patterns, in `result` if it is given; nothing is lost. */
export function fromHalf(bits: Uint16Array, result: Float32Array = new Float32Array(bits.length)): Float32Array {
  const numbers = table();
  for (let i = 0; i < bits.length; i++) result[i] = numbers[bits[i]!]!;
  return result;
}

const word = new Float32Array(1);
const wordBits = new Uint32Array(word.buffer);

/** float16 bit patterns of numbers: the nearest, of two equally near the even one; too large ones become infinite. */
export function toHalf(numbers: Float32Array): Uint16Array {
  const result = new Uint16Array(numbers.length);
  for (let i = 0; i < numbers.length; i++) {
    word[0] = numbers[i]!;
    const [sign, bits] = [(wordBits[0]! >>> 16) & 0x8000, wordBits[0]! & 0x7fffffff];
    if (bits > 0x7f800000)
      result[i] = sign | 0x7e00; // not a number
    else if (bits >= 0x477ff000)
      result[i] = sign | 0x7c00; // from halfway between the largest and the next
    else if (bits < 0x38800000)
      result[i] = sign | roundToEven(Math.abs(word[0]!) * 2 ** 24); // no exponent left
    else result[i] = sign | ((bits - 0x38000000 + 0xfff + ((bits >>> 13) & 1)) >>> 13); // a carry moves the exponent on
  }
  return result;
}

function roundToEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}
