/** Twice the size of the SVG, for screens and print. */
const DPI = 144;

/** Renders an SVG document as a PNG file. Text uses the fonts of the machine. */
export async function renderPng(svg: string): Promise<Buffer> {
  const { default: sharp } = await import('sharp'); // few reports have a PNG
  return await sharp(Buffer.from(svg), { density: DPI }).png().toBuffer();
}
