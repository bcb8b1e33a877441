import { crc32 } from 'node:zlib';

/**
 * A ZIP archive of stored entries, as torch.save lays one out but for the padding; 32-bit sizes. `from`: where in its file it
 * will stand.
 */
export function zipOf(entries: Readonly<Record<string, Uint8Array | string>>, from = 0): Buffer {
  const [parts, directory]: [Buffer[], Buffer[]] = [[], []];
  let at = from;
  for (const [name, content] of Object.entries(entries)) {
    const data = Buffer.from(content as Uint8Array);
    const label = Buffer.from(name);
    // version, flags, method (stored), time, date, checksum, both sizes, length of the name, no extra field
    const about = Buffer.alloc(26);
    about.writeUInt16LE(20, 0);
    about.writeUInt32LE(crc32(data), 10);
    about.writeUInt32LE(data.length, 14);
    about.writeUInt32LE(data.length, 18);
    about.writeUInt16LE(label.length, 22);
    const place = Buffer.alloc(14); // comment, disk, attributes, then where the entry begins
    place.writeUInt32LE(at, 10);
    parts.push(Buffer.from('PK\x03\x04'), about, label, data);
    directory.push(Buffer.from('PK\x01\x02\x14\x00'), about, place, label);
    at += 4 + about.length + label.length + data.length;
  }
  const listing = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  const count = Object.keys(entries).length;
  end.writeUInt16LE(count, 4);
  end.writeUInt16LE(count, 6);
  end.writeUInt32LE(listing.length, 8);
  end.writeUInt32LE(at, 12);
  return Buffer.concat([...parts, listing, Buffer.from('PK\x05\x06'), end]);
}
