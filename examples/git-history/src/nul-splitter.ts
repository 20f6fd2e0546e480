/** Receives a token without its NUL. `bytes` is valid only during the call. `length` is larger if the token was cut. */
export type TokenHandler = (bytes: Buffer, length: number) => void;

/** The maximum number of bytes of a token that are kept. */
export const MAX_TOKEN_BYTES = 1024 * 1024;

/** Splits a byte stream, such as git's `-z` output, at NUL bytes. A token may span any number of chunks. */
export class NulSplitter {
  readonly #handle: TokenHandler;
  #parts: Buffer[] = [];
  #kept = 0;
  #length = 0;

  constructor(handle: TokenHandler) {
    this.#handle = handle;
  }

  push(chunk: Buffer): void {
    let from = 0;
    for (let nul = chunk.indexOf(0); nul !== -1; nul = chunk.indexOf(0, from)) {
      // Nearly every token is within one chunk and needs no copy.
      if (this.#length === 0) this.#handle(chunk.subarray(from, nul), nul - from);
      else this.#finish(chunk.subarray(from, nul));
      from = nul + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  /** Whether the stream has ended in the middle of a token. */
  get open(): boolean {
    return this.#length > 0;
  }

  #keep(bytes: Buffer): void {
    const part = bytes.subarray(0, MAX_TOKEN_BYTES - this.#kept);
    if (part.length > 0) this.#parts.push(part);
    this.#kept += part.length;
    this.#length += bytes.length;
  }

  #finish(last: Buffer): void {
    this.#keep(last);
    const token = Buffer.concat(this.#parts);
    const length = this.#length;
    this.#parts = [];
    this.#kept = 0;
    this.#length = 0;
    this.#handle(token, length);
  }
}
