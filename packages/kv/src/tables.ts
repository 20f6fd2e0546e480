// This is a separate entry point, so that worker threads that check tables do not have to load LevelDB.
export { checkTable, checkTableBytes } from "./tables/check-table.ts";
export { CairnError, systemErrorCode } from "./errors/errors.ts";
