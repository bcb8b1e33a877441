/** What pixels less 127.5 are divided by: in training, and in the reference's IJB evaluation (D-12). */
export const PIXEL_DIVISOR = { train: 127.5, ijb: 128 } as const;
