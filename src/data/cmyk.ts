/** a · b / 255, rounded, for bytes: PIL's MULDIV255. */
function mulDiv255(a: number, b: number): number {
  const product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

/**
 * Converts CMYK [n, 4] to RGB [n, 3] without colour profiles, with the values of PIL's `convert('RGB')`. `inverted`: 255 is
 * no ink, as Adobe's programs write it and PIL assumes it of every CMYK JPEG.
 */
export function rgbOfCmyk(cmyk: Uint8Array, { inverted }: { readonly inverted: boolean }): Uint8Array {
  const flip = inverted ? 0 : 255;
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    const light = flip ^ cmyk[from + 3]!;
    for (let c = 0; c < 3; c++) rgb[to + c] = light - mulDiv255(flip ^ 255 ^ cmyk[from + c]!, light);
  }
  return rgb;
}
