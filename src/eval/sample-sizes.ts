/** What is compared and searched, unless more or less is asked for: all of it, or if there is more a draw of so many. */
export const SAMPLE_SIZES = { genuines: 1_000_000, impostors: 2_000_000, probes: 100_000 } as const;
/** Bootstrap resamples, unless told. */
export const RESAMPLES = 500;
