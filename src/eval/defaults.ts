/** Default limits of pairs and probes. A set that has more is sampled. */
export const SAMPLE_SIZES = { genuines: 1_000_000, impostors: 2_000_000, probes: 100_000 } as const;
/** Default number of bootstrap resamples. */
export const RESAMPLES = 500;
/** Default FAR that a system runs at. */
export const OPERATING_FAR = 1e-3;
/**
 * The fewest false accepts of the old model from which a drop-in is called one: of 30 independent ones, the FAR
 * is within 30 % of the truth with a confidence of 90 % (Doddington and others, The NIST speaker recognition evaluation, Speech Communication 31, 2000: the rule of 30).
 */
export const MIN_FALSE_ACCEPTS = 30;
/** Default share of zero embeddings above which a model is not evaluated. */
export const MAX_ZERO_SHARE = 0.01;
