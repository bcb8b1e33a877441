import sharp from 'sharp';

/** Of a figure; twice the size of its SVG, for screens and print. */
const DPI = 144;

/** An SVG document as a PNG file. Letters come from the fonts that the machine has. */
export const renderPng = (svg: string): Promise<Buffer> => sharp(Buffer.from(svg), { density: DPI }).png().toBuffer();
