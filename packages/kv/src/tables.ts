// An entry of its own, because who only compares tables, on another thread, need not load LevelDB.
export { checkTable, checkTableBytes } from "./tables/check-table.ts";
export { CairnError, isCairnError, systemErrorCode } from "./errors/errors.ts";
