/** Default limits of pairs and probes. A set that has more is sampled. */
export const SAMPLE_SIZES = { genuines: 1_000_000, impostors: 2_000_000, probes: 100_000 } as const;
/** Default number of bootstrap resamples. */
export const RESAMPLES = 500;
/** Default share of zero embeddings above which a model is not evaluated. */
export const MAX_ZERO_SHARE = 0.01;
