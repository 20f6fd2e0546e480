export * from "./errors/errors.ts";
/** What each error of the operating system asks for. */
export * from "./errors/system-errors.ts";
export { diskError } from "./disk/disk-error.ts";
export { makeFolder } from "./disk/make-folder.ts";
export { syncFile, syncFolder } from "./disk/sync-folder.ts";
/** What every store is, whatever it lies on. */
export type * from "./store/kv-store.ts";
export { LEVEL_FORMAT, levelProvider } from "./level/level-kv-store.ts";
/** For who opens a LevelDB of its own. */
export { openKeepingLogs } from "./level/kept-logs.ts";
export { checkBeforeOpening, checkUnchecked, type UncheckedTables } from "./level/unchecked-tables.ts";
/** For who opens a LevelDB with other sizes than the defaults. */
export type { LevelOptions } from "./level/level-options.ts";
export { memoryProvider } from "./level/memory-kv-store.ts";
export { captureLevelDb } from "./capture/live-capture.ts";
/** Tests give a capture other limits, or a file system that changes things meanwhile. */
export type { CaptureOptions } from "./capture/live-capture.ts";
export { captureFileSystem } from "./capture/capture-file-system.ts";
/** For wrappers of it. */
export type { CaptureFileSystem } from "./capture/capture-file-system.ts";
export { decodeLevelManifest } from "./files/level-manifest.ts";
/** For who looks at the files of a LevelDB without opening it. */
export type { LevelManifest } from "./files/level-manifest.ts";
export { crc32cOf } from "./files/crc32c.ts";
export { checkWriteAheadLogs } from "./files/write-ahead-logs.ts";
export { checkLiveTables, liveTableBounds, liveTableNames } from "./tables/check-live-tables.ts";
export { findTornEdit, findTornTail } from "./files/torn-tail.ts";
/** For writers whose batches say where they begin. */
export type { BatchEnding, TornTail } from "./files/torn-tail.ts";
export { claimDirectory, isLockedElsewhere, whileLocked } from "./level/level-lock.ts";
export type { ClaimedDirectory } from "./level/level-lock.ts";
export { findTableDamage, type TableDamage } from "./tables/table-damage.ts";
