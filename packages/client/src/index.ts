export { CairnClient } from "./cairn-client.ts";
export { CairnClientError, type ErrorCode } from "./client-error.ts";
/** Arguments and results of the client's methods. */
export type * from "./types/client-types.ts";
/** The results of `activity`, `cluster`, `log` and `status`. */
export type * from "./types/activity.ts";
export type * from "./types/cluster-status.ts";
export type * from "./types/log-overview.ts";
export type * from "./types/node-status.ts";
/** Policies in the form in which they are written. */
export type * from "./types/policies.ts";
/** Queues, their shards and entries. */
export type * from "./types/queues.ts";
/** Directors of queues. */
export type { Director } from "./queues/director.ts";
export type { DirectorOptions, EntryHandler } from "./queues/director-options.ts";
export { GiveUp } from "./queues/entry-rules.ts";
/** Transactions and their parts. */
export type * from "./types/transaction.ts";
