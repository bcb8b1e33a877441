// What step and extract measure on a graphics processor: each precision against PyTorch on the same one.
import type { Precision } from '../src/models/precisions.ts';
import { type Measured, measured, median, tell } from './bench.ts';
import { alternate, type Command, Contender, ContenderFailed, requireSameWork, speedup } from './contender.ts';

/** float32 with TF32 where libtorch takes it by itself, which is in convolutions. */
export const DEVICE_PRECISIONS: readonly Precision[] = ['float32', 'fp16', 'bf16'];

export type DevicePeer<Mode extends string> = { readonly mode: Mode; readonly name: string };

type Row = Measured & {
  readonly precision: Precision;
  readonly peer: string;
  readonly secondsPerStep: { readonly ours: number; readonly peer: number };
};

export type DeviceResult = { readonly rows: readonly Row[]; readonly skipped: Readonly<Record<string, string>> };

/**
 * Compares ours with every peer in every precision, the quickest to start first: each row is told as soon as it is there, as JSON.
 * `ownMeasure`: what else is asked of our side in a precision.
 */
export async function compareOnDevice<Mode extends string>(
  peers: readonly DevicePeer<Mode>[],
  {
    runs,
    steps,
    ours,
    peerOf,
    ownMeasure,
  }: {
    readonly runs: number;
    readonly steps: number;
    readonly ours: (precision: Precision) => Command;
    readonly peerOf: (peer: DevicePeer<Mode>, precision: Precision) => Command;
    readonly ownMeasure?: (own: Contender, precision: Precision) => Promise<void>;
  },
): Promise<DeviceResult> {
  const rows: Row[] = [];
  const skipped: Record<string, string> = {};
  for (const [i, peer] of peers.entries())
    for (const precision of DEVICE_PRECISIONS) {
      const what = `${precision}, ${peer.name}`;
      try {
        await using own = await Contender.start(ours(precision));
        if (i === 0) await ownMeasure?.(own, precision);
        await using other = await Contender.start(peerOf(peer, precision));
        if (precision === 'float32') requireSameWork(own, other);
        const pairs = await alternate(own, other, { runs, steps });
        const secondsPerStep = { ours: median(pairs.ours), peer: median(pairs.peer) };
        rows.push({ precision, peer: peer.name, ...measured(speedup(pairs), 1, 'higher'), secondsPerStep });
        tell(JSON.stringify({ row: rows.at(-1) }));
      } catch (error) {
        if (!(error instanceof ContenderFailed)) throw error;
        skipped[what] = error.message;
        tell(JSON.stringify({ skipped: { [what]: error.message } }));
      }
    }
  if (rows.length === 0) throw new ContenderFailed(Object.values(skipped)[0]!);
  return { rows, skipped };
}
