/** How LevelDB shall work; sizes are in bytes. */
export interface LevelOptions {
  /** Rows gathered in memory, and in the log that recovery reads, before they become a table. Default 24 MiB. */
  readonly writeBufferSize?: number;
  /** Blocks of tables kept in memory. Default 16 MiB. */
  readonly cacheSize?: number;
  /** Whether tables are compressed with Snappy. Default true. */
  readonly compression?: boolean;
  /** Tables kept open. Default 1,000. */
  readonly maxOpenFiles?: number;
}

/** Where they are not LevelDB's own. */
export const LEVEL_DEFAULTS = { writeBufferSize: 24 << 20, cacheSize: 16 << 20, compression: true };

/** Of a read whose value is bytes. */
export const AS_BYTES = { keyEncoding: "view", valueEncoding: "view" } as const;

/** Of a read whose value is text: LevelDB's own bytes become it without becoming a buffer first. */
export const AS_TEXT = { keyEncoding: "view", valueEncoding: "utf8" } as const;

/** Of a range whose rows are text. Its bounds stay the bytes that they are: as text, what is no UTF-8 would be another bound. */
export const READ_AS_TEXT = {
  keyEncoding: {
    name: "utf8-in-bytes",
    format: "utf8",
    encode: (bound: Uint8Array): Uint8Array => bound,
    decode: (text: string): string => text,
  },
  valueEncoding: "utf8",
} as const;

/** Of so many single reads one leaves its block in the cache. */
const KEPT = 8;

/**
 * The options of single reads, one after the other. Keeping a block costs a fifth of reading it, and pushes another one out. What is read
 * again and again is soon in the cache even if only some of its reads keep it, and stays there; what is read once hardly ever is.
 */
export class SingleReads<Options extends object> {
  readonly #keeping: Options & { readonly fillCache: true };
  readonly #passing: Options & { readonly fillCache: false };
  #count = 0;

  constructor(options: Options) {
    this.#keeping = { ...options, fillCache: true };
    this.#passing = { ...options, fillCache: false };
  }

  /** Of the next one. */
  next(): Options & { readonly fillCache: boolean } {
    this.#count = (this.#count + 1) % KEPT;
    return this.#count === 0 ? this.#keeping : this.#passing;
  }
}
