import sharp from 'sharp';

/** Twice the size of the SVG, for screens and print. */
const DPI = 144;

/** Renders an SVG document as a PNG file. Text uses the fonts of the machine. */
export const renderPng = (svg: string): Promise<Buffer> => sharp(Buffer.from(svg), { density: DPI }).png().toBuffer();
