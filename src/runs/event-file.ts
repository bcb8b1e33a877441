import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import type { LogLine } from './run-log.ts';

/** The part of TensorFlow's `event.proto` and `summary.proto` (release 2.16) that scalars need. */
const SCHEMA = `syntax = "proto3";
message Event {
  double wall_time = 1;
  int64 step = 2;
  oneof what { string file_version = 3; Summary summary = 5; SessionLog session_log = 7; }
}
message Summary {
  message Value { string tag = 1; float simple_value = 2; }
  repeated Value value = 1;
}
message SessionLog { enum SessionStatus { STATUS_UNSPECIFIED = 0; START = 1; } SessionStatus status = 1; }`;
/** What TensorBoard calls this format. */
const FILE_VERSION = 'brain.Event:2';
const START = 1;

let eventType: protobuf.Type | undefined;
const encodeEvent = (event: object): Uint8Array => {
  eventType ??= protobuf.parse(SCHEMA).root.lookupType('Event');
  return eventType.encode(event).finish();
};

/** CRC-32C (Castagnoli) of each byte (RFC 3720, B.4; reversed polynomial). */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Records hold checksums rotated and moved, since checksums of data that hold checksums are weak (TensorFlow's `crc32c.h`). */
const masked = (crc: number): number => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;

/** A record of a TFRecord file: length, its checksum, data, their checksum. */
export function encodeRecord(data: Uint8Array): Buffer {
  const record = Buffer.alloc(data.length + 16);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(masked(crc32c(record.subarray(0, 8))), 8);
  record.set(data, 12);
  record.writeUInt32LE(masked(crc32c(data)), data.length + 12);
  return record;
}

/** Scalars at a step, by tag; those that are not finite are left out. */
export type ScalarEvent = { readonly step: number; readonly time: string } & {
  readonly scalars: Readonly<Record<string, number | null>>;
};

/** The scalars of a line of a log. */
export const scalarsOf = ({ step, time = '', ...line }: LogLine): ScalarEvent => ({
  step,
  time,
  scalars: {
    loss: line.loss,
    ...Object.fromEntries(Object.entries(line.terms).map(([name, value]) => [`terms/${name}`, value])),
    'train/gradient norm': line.gradNorm,
    'train/learning rate': line.lr,
    'train/samples per second': line.samplesPerSecond,
    'train/data wait share': line.dataWaitShare,
    ...Object.fromEntries(Object.entries(line.counts).map(([name, value]) => [`counts/${name}`, value])),
  },
});

/** The scalars of a validation. */
export const validationScalars = (step: number, time: string, metrics: ScalarEvent['scalars']): ScalarEvent => ({
  step,
  time,
  scalars: Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`validation/${name}`, value])),
});

/** An event file of TensorBoard. */
export class EventFile {
  readonly #path: string;

  /**
   * Begins a new file in a folder that holds nothing else, with what was logged before: a run that resumes logs no step twice.
   * Its first event makes a TensorBoard that has the folder open forget what it has read.
   */
  constructor(folder: string, before: readonly ScalarEvent[]) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const seconds = Date.now() / 1000;
    const name = hostname().replace(/[^\w.-]/g, '_');
    this.#path = join(folder, `events.out.tfevents.${Math.floor(seconds)}.${name}.${process.pid}`);
    const head = [{ wallTime: seconds, fileVersion: FILE_VERSION }, { wallTime: seconds, step: 0, sessionLog: { status: START } }]; // biome-ignore format: short
    this.#append([...head.map(encodeEvent), ...before.map(eventOf)]);
  }

  write(event: ScalarEvent): void {
    this.#append([eventOf(event)]);
  }

  #append(events: readonly Uint8Array[]): void {
    appendFileSync(this.#path, Buffer.concat(events.map(encodeRecord)));
  }
}

function eventOf({ step, time, scalars }: ScalarEvent): Uint8Array {
  const wallTime = Date.parse(time) / 1000;
  const finite = Object.entries(scalars).filter(([, value]) => value !== null && Number.isFinite(value));
  return encodeEvent({
    ...(Number.isFinite(wallTime) && { wallTime }),
    step,
    summary: { value: finite.map(([tag, simpleValue]) => ({ tag, simpleValue })) },
  });
}
