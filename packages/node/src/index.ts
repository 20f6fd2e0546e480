export type * from "./node-api.ts";
export type * from "./tx-log/transaction.ts";
export type * from "./tx-log/tx-log.ts";
export type * from "./system/system.ts";
