import { type Metric, type ProtocolKind, powerOfTen } from './metric.ts';

type Options = {
  /** Protocols whose verdicts use it. */
  readonly verdictIn?: readonly ProtocolKind[];
  readonly summary?: boolean;
  readonly column?: boolean;
};

/** True accept rate at a false accept rate of at most `far`. */
export const tarAtFar = (far: number, { verdictIn = [], summary = false, column = true }: Options = {}): Metric => ({
  name: `TAR@FAR=${powerOfTen(far)}`,
  term: 'TAR@FAR',
  meaning: 'share of genuine pairs accepted at the threshold that lets at most this share of impostor pairs pass',
  column: column ? { family: 'TAR@FAR', level: far } : null,
  ...(verdictIn.length > 0 && { verdict: { protocols: verdictIn, chance: () => far, summary } }),
  stored: ({ verification }) => verification?.tar.find((entry) => entry.far === far)?.atMost,
  test: 'verification',
  measure: ({ tar }) => tar(far),
});
