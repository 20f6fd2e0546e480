export { CairnError, isCairnError } from "@cairn/kv";
/** The values of `code` of an error. */
export type { ErrorCode } from "@cairn/kv";
/** What `onEvent` receives. */
export type * from "./observe/node-event.ts";
/** The results of a node's reads. */
export type * from "./index/read/documents.ts";
export type { BucketSummary, FieldSummary } from "./index/read/bucket-reads.ts";
/** Returned by `commitResult`. */
export type { CommitResult } from "./index/apply/recent-outcomes.ts";
export type { EventPage, RecordedEvent } from "./index/read/event-reads.ts";
export type { Eviction } from "./index/read/eviction-reads.ts";
export type { FieldQuery } from "./index/read/field-query.ts";
/** A running node: everything that is served over HTTP, with the arguments and results of its methods. */
export type * from "./api/node-api.ts";
export type { CairnNode } from "./node/node.ts";
export { startNode } from "./node/start-node.ts";
export type { StartNodeOptions } from "./node/start-node.ts";
/** Thrown by `startNode`, with every problem of a configuration; `formatProblems` is how the command line prints them. */
export { ConfigError, formatProblems } from "./config/source/problems.ts";
export type { ConfigProblem } from "./config/source/problems.ts";
/** Passed to a module of your own. */
export type { ModuleContext } from "./config/types/module-kinds.ts";
/** Implemented by a log of your own. */
export type * from "./log/tx-log.ts";
/** Implemented by a log of your own through which nodes reach one another. */
export type * from "./log/peer-channel.ts";
/** Transactions and their outcomes, policies and the status: the same as over HTTP. */
export type {
  BoundPolicy,
  CheckpointSummary,
  DocumentKey,
  EventRecord,
  ExpirePolicy,
  FieldValue,
  FieldValues,
  Json,
  NodeStatus,
  Phase,
  Policies,
  PolicyDuration,
  PolicyState,
  Revision,
  Transaction,
  TxId,
  TxOperation,
  TxOutcome,
  VerifiedSummary,
} from "@cairn/client";
export { WatchCompactedError } from "./index/read/watch-compacted.ts";
/** The results of `watch`. */
export type { TransactionEvent, WatchChange } from "./index/read/transaction-event.ts";
export type * from "./watch/watch-event.ts";
