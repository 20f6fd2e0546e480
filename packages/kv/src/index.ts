export * from "./errors.ts";
export { diskError } from "./disk-error.ts";
export { makeFolder } from "./make-folder.ts";
/** What every store is, whatever it lies on. */
export type * from "./kv-store.ts";
export { LEVEL_FORMAT, levelProvider } from "./level-kv-store.ts";
/** For who opens a LevelDB with other sizes than the defaults. */
export type { LevelOptions } from "./level-options.ts";
export { memoryProvider } from "./memory-kv-store.ts";
export { captureLevelDb } from "./live-capture.ts";
/** Tests give a capture other limits, or a file system that changes things meanwhile. */
export type { CaptureOptions } from "./live-capture.ts";
export { captureFileSystem } from "./capture-file-system.ts";
/** For wrappers of it. */
export type { CaptureFileSystem } from "./capture-file-system.ts";
export { decodeLevelManifest } from "./level-manifest.ts";
/** For who looks at the files of a LevelDB without opening it. */
export type { LevelManifest } from "./level-manifest.ts";
export { checkWriteAheadLogs } from "./write-ahead-logs.ts";
export { checkLiveTables, liveTableBounds, liveTableNames } from "./check-live-tables.ts";
export { isLockedElsewhere } from "./level-lock.ts";
export { findTableDamage, type TableDamage } from "./table-damage.ts";
