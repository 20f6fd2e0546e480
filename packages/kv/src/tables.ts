// A separate entry point, so that worker threads that check tables need not load LevelDB.
export { checkTable, checkTableBytes } from "./tables/check-table.ts";
export { CairnError, systemErrorCode } from "./errors/errors.ts";
