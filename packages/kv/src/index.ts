export * from "./errors/errors.ts";
export * from "./errors/system-errors.ts";
export { inParallel } from "./concurrency/in-parallel.ts";
export * from "./disk/folders.ts";
export { readSmallFile } from "./disk/small-file.ts";

/** The contract of a key-value store. */
export type * from "./store/kv-store.ts";
export { LEVEL_FORMAT, levelProvider } from "./level/level-kv-store.ts";
export { memoryProvider } from "./level/memory-kv-store.ts";

/** For programs that open LevelDB databases themselves. */
export { openKeepingLogs } from "./level/kept-logs.ts";
export { writeRows } from "./level/write-rows.ts";
export * from "./level/directory-claim.ts";
export { checkBeforeOpening, checkUnchecked, type UncheckedTables } from "./level/checks-on-opening.ts";

/** For programs that read the files of a LevelDB database where they are. */
export type { RangedFiles } from "./ranges/ranged-table.ts";
export { openRanged, type RangedStore } from "./ranges/ranged-store.ts";

/** For programs that read or repair the files of a LevelDB database. */
export { captureLevelDb } from "./capture/live-capture.ts";
export { crc32cOf } from "./files/crc32c.ts";
export { holdsLevelDb } from "./files/level-files.ts";
export { type BatchEnding, findTornEdit, findTornTail, type TornTail } from "./files/torn-tail.ts";
export { checkWriteAheadLogs, type LogEnd } from "./files/write-ahead-logs.ts";
export { checkLiveTables, lacksLiveFiles, liveTableNames } from "./tables/check-named-tables.ts";
export { lastValueIn, mayHaveHeldRows, mayHoldRows } from "./tables/last-value.ts";

/** Waits, clocks and limits of work. */
export { closing } from "./concurrency/closing.ts";
export { readAhead } from "./concurrency/read-ahead.ts";
export * from "./concurrency/repeated-work.ts";
export * from "./concurrency/running-work.ts";
export * from "./concurrency/semaphore.ts";
export * from "./concurrency/shared-results.ts";
export * from "./concurrency/timer.ts";
export { TimeSlice, TRANSACTION_SLICE } from "./concurrency/time-slice.ts";
export { unlessAborted } from "./concurrency/unless-aborted.ts";
