// The part of fontkit 2.0.4 that this project calls; the package ships no types.
declare module 'fontkit' {
  export interface PathCommand {
    readonly command: 'moveTo' | 'lineTo' | 'quadraticCurveTo' | 'bezierCurveTo' | 'closePath';
    readonly args: readonly number[];
  }
  export interface Font {
    readonly type: 'TTF' | 'WOFF' | 'WOFF2';
    readonly unitsPerEm: number;
    readonly characterSet: readonly number[];
    hasGlyphForCodePoint(codePoint: number): boolean;
    glyphForCodePoint(codePoint: number): { readonly path: { readonly commands: readonly PathCommand[] } };
  }
  export interface Collection {
    readonly type: 'TTC' | 'DFont';
    readonly fonts: readonly Font[];
  }
  export function create(bytes: Uint8Array): Font | Collection;
}
