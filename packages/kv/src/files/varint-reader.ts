import type { CairnError } from "../errors/errors.ts";

/** Throws the error that `damaged` returns for a description of the damage. */
export class VarintReader {
  position = 0;
  readonly #bytes: Uint8Array;
  readonly #damaged: (what: string) => CairnError;

  constructor(bytes: Uint8Array, damaged: (what: string) => CairnError) {
    this.#bytes = bytes;
    this.#damaged = damaged;
  }

  get isAtEnd(): boolean {
    return this.position >= this.#bytes.length;
  }

  /** A varint has seven bits per byte, lowest first. Multiplies, as sequence numbers exceed the 32 bits of shifts. */
  number(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 56; factor *= 128) {
      const byte = this.#bytes[this.position++];
      if (byte === undefined) throw this.#damaged("ends inside a number");
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw this.#damaged("has a number with too many bytes");
  }

  /** Reads the next `length` bytes. By default, a varint before the bytes gives their number. */
  bytes(length = this.number()): Uint8Array {
    const start = this.position;
    this.position += length;
    if (this.position > this.#bytes.length) throw this.#damaged("ends inside a key or value");
    return this.#bytes.subarray(start, this.position);
  }
}
