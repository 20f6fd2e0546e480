/** Takes a stream of chunks apart by counts instead. */
export interface ByteReader {
  /** At least one byte and at most `count`; undefined at the end. `count` is more than 0. */
  upTo(count: number): Promise<Buffer | undefined>;
  /** Exactly `count` bytes (a small number: they are held), or undefined when fewer are left. */
  exactly(count: number): Promise<Buffer | undefined>;
}

/** A reader of `source`, holding no more than one chunk of it. */
export function byteReader(source: AsyncGenerator<Buffer, void, undefined>): ByteReader {
  let held: Buffer = Buffer.alloc(0);

  async function upTo(count: number): Promise<Buffer | undefined> {
    while (held.length === 0) {
      const next = await source.next();
      if (next.done === true) return undefined;
      held = next.value;
    }
    const taken = held.subarray(0, count);
    held = held.subarray(taken.length);
    return taken;
  }

  return {
    upTo,
    async exactly(count) {
      if (held.length >= count) return count === 0 ? Buffer.alloc(0) : upTo(count);
      const parts: Buffer[] = [];
      for (let left = count; left > 0;) {
        const part = await upTo(left);
        if (part === undefined) return undefined;
        parts.push(part);
        left -= part.length;
      }
      return Buffer.concat(parts);
    },
  };
}
