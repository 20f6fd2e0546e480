export { CairnClient } from "./cairn-client.ts";
export { CairnClientError, type ErrorCode } from "./client-error.ts";
/** Arguments and results of the client's methods. */
export type * from "./client-types.ts";
/** The results of `activity`, `cluster`, `log` and `status`. */
export type * from "./activity.ts";
export type * from "./cluster-status.ts";
export type * from "./log-overview.ts";
export type * from "./node-status.ts";
/** Policies in the form in which they are written. */
export type * from "./policies.ts";
/** Transactions and their parts. */
export type * from "./transaction.ts";
