/** Options for LevelDB. Sizes are in bytes. */
export interface LevelOptions {
  /**
   * The size of the rows that are kept in memory, and in the log that recovery reads, before they become a table.
   * Defaults to 24 MiB.
   */
  readonly writeBufferSize?: number;
  /** The size of the cache for table blocks in memory. Defaults to 16 MiB. */
  readonly cacheSize?: number;
  /** Whether tables are compressed with Snappy. Defaults to true. */
  readonly compression?: boolean;
  /** Defaults to 1,000; LevelDB uses at most a fifth of the process's limit of open files. */
  readonly maxOpenFiles?: number;
}

/** The defaults that differ from those of LevelDB. */
export const LEVEL_DEFAULTS = { writeBufferSize: 24 << 20, cacheSize: 16 << 20, compression: true };

/** Options for a read whose value is bytes. */
export const AS_BYTES = { keyEncoding: "view", valueEncoding: "view" } as const;

/** Options for a read whose value is text. LevelDB's bytes are converted without an intermediate buffer. */
export const AS_TEXT = { keyEncoding: "view", valueEncoding: "utf8" } as const;

/** One single read in this many adds its block to the cache. */
const READS_PER_CACHE_FILL = 8;

/**
 * Returns the options of consecutive single reads. Caching a block costs a fifth as much as reading it, and evicts
 * another one. Although only some reads add their blocks, blocks that are read frequently soon get into the cache and
 * stay there, whereas blocks that are read once rarely do.
 */
export function singleReads<Options extends object>(
  options: Options,
): () => Options & { readonly fillCache: boolean } {
  const filling = { ...options, fillCache: true };
  const bypassing = { ...options, fillCache: false };
  let count = 0;
  return () => {
    count = (count + 1) % READS_PER_CACHE_FILL;
    return count === 0 ? filling : bypassing;
  };
}
