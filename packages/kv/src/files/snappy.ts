/** Undefined if `block` is not as in format_description.txt of google/snappy. LevelDB decompresses its own reads. */
export function unsnappy(block: Uint8Array): Uint8Array | undefined {
  let position = 0;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = block[position++];
    if (byte === undefined || shift > 28) return undefined;
    size += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  // Three bytes of input represent at most 64 bytes of output.
  if (size > block.length * 32) return undefined;
  const output = new Uint8Array(size);
  let filled = 0;
  while (position < block.length) {
    const tag = block[position++] ?? 0;
    // The kind 0 is a literal, whose length follows in 1 to 4 bytes if it is above 60. Any other kind is a copy, with
    // an offset of 1, 2 or 4 bytes.
    const kind = tag & 3;
    let length = (tag >>> 2) + 1;
    if (kind === 0) {
      const extra = Math.max(0, length - 60);
      if (extra > 0) length = littleEndian(block, position, extra) + 1;
      position += extra;
      if (position + length > block.length || filled + length > size) return undefined;
      output.set(block.subarray(position, position + length), filled);
      position += length;
      filled += length;
      continue;
    }
    const bytes = kind === 1 ? 1 : kind === 2 ? 2 : 4;
    let offset = littleEndian(block, position, bytes);
    position += bytes;
    if (kind === 1) {
      offset += (tag >>> 5) * 256;
      length = ((tag >>> 2) & 7) + 4;
    }
    if (offset === 0 || offset > filled || filled + length > size) return undefined;
    // The loop copies byte by byte, because a copy may overlap its own output, which then repeats.
    for (const end = filled + length; filled < end; filled++) output[filled] = output[filled - offset] ?? 0;
  }
  return filled === size ? output : undefined;
}

function littleEndian(bytes: Uint8Array, position: number, count: number): number {
  let value = 0;
  for (let index = count - 1; index >= 0; index--) value = value * 256 + (bytes[position + index] ?? 0);
  return value;
}
