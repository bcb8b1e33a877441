/** An event of TensorBoard as a test reads it. */
export type DecodedEvent =
  | { readonly fileVersion: string }
  | { readonly start: true }
  | { readonly step: number; readonly wallTime: number; readonly scalars: Readonly<Record<string, number>> };

/** CRC-32C bit by bit, as its definition says. */
function checksum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes)
    for (let bit = 0; bit < 8; bit++) {
      const low = (crc ^ (byte >>> bit)) & 1;
      crc = low ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    }
  return ~crc >>> 0;
}

/** The checksum that a record holds, from the masked one. */
function unmasked(value: number): number {
  const rotated = (value - 0xa282ead8) >>> 0;
  return ((rotated >>> 17) | (rotated << 15)) >>> 0;
}

function requireChecksum(bytes: Uint8Array, stored: number): void {
  if (checksum(bytes) !== unmasked(stored)) throw new Error('a checksum differs');
}

/** Reads an event file without any code of what writes it. @throws Error if a record is cut short or a checksum differs */
export function decodeEvents(file: Buffer): DecodedEvent[] {
  const events: DecodedEvent[] = [];
  for (let at = 0; at < file.length; ) {
    requireChecksum(file.subarray(at, at + 8), file.readUInt32LE(at + 8));
    const length = Number(file.readBigUInt64LE(at));
    const data = file.subarray(at + 12, at + 12 + length);
    if (data.length !== length) throw new Error('a record is cut short');
    requireChecksum(data, file.readUInt32LE(at + 12 + length));
    events.push(decodeEvent(data));
    at += length + 16;
  }
  return events;
}

type Field = { readonly id: number; readonly value: number | Buffer };

/** The fields of a protobuf message: numbers, doubles and floats, or bytes. */
function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): number => {
    let [value, factor] = [0, 1];
    for (; ; factor *= 128) {
      const byte = message.readUInt8(at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const [id, type] = [Math.floor(tag / 8), tag % 8];
    if (type === 0) fields.push({ id, value: varint() });
    else {
      const size = type === 1 ? 8 : type === 5 ? 4 : type === 2 ? varint() : Number.NaN;
      const bytes = message.subarray(at, at + size);
      if (bytes.length !== size) throw new Error(`wire type ${type}, cut short or unknown`);
      fields.push({ id, value: type === 1 ? bytes.readDoubleLE() : type === 5 ? bytes.readFloatLE() : bytes });
      at += size;
    }
  }
  return fields;
}

function decodeEvent(data: Buffer): DecodedEvent {
  const fields = new Map(fieldsOf(data).map(({ id, value }) => [id, value]));
  if (fields.has(3)) return { fileVersion: String(fields.get(3)) };
  if (fields.has(7)) return { start: true };
  const values = fieldsOf(fields.get(5) as Buffer).map(({ value }) => new Map(fieldsOf(value as Buffer).map((one) => [one.id, one.value]))); // biome-ignore format: short
  return {
    step: (fields.get(2) as number | undefined) ?? 0,
    wallTime: (fields.get(1) as number | undefined) ?? 0,
    scalars: Object.fromEntries(
      values.map((value) => [String(value.get(1)), (value.get(2) as number | undefined) ?? 0]),
    ),
  };
}
