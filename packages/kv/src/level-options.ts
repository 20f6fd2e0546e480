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

/** Of a read whose value is text: LevelDB's own bytes become it without becoming a buffer first. */
export const AS_TEXT = { keyEncoding: "view", valueEncoding: "utf8" } as const;
