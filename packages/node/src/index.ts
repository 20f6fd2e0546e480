export { CairnError, isCairnError } from "@cairn/kv";
export type { ErrorCode } from "@cairn/kv";
export type * from "./observe/node-event.ts";
export type * from "./index/read/documents.ts";
export type { BucketSummary, FieldSummary } from "./index/read/bucket-reads.ts";
/** The result of `commitResult`. */
export type { CommitResult } from "./index/apply/recent-outcomes.ts";
export type { EventPage, RecordedEvent } from "./index/read/event-reads.ts";
export type { Eviction } from "./index/read/eviction-reads.ts";
export type { FieldQuery } from "./index/read/field-query.ts";
/** A running node, which provides everything that is served over HTTP, and the arguments and results of its methods. */
export type * from "./api/node-api.ts";
export type { CairnNode } from "./node/node.ts";
export { startNode } from "./node/start-node.ts";
export type { StartNodeOptions } from "./node/start-node.ts";
/** `ConfigError` of `startNode` has all problems; `formatProblems` is how the command line prints them. */
export { ConfigError, formatProblems } from "./config/source/problems.ts";
export type { ConfigProblem } from "./config/source/problems.ts";
/** The context passed to a module of your own. */
export type { ModuleContext } from "./config/types/module-kinds.ts";
/** The interface that a log of your own implements. */
export type * from "./log/tx-log.ts";
/** The interface that a log of your own implements if nodes reach one another through it. */
export type * from "./log/peer-channel.ts";
/** Transactions and their outcomes, policies and the status. They are the same as over HTTP. */
export type {
  BoundPolicy,
  CheckpointSummary,
  DocumentKey,
  EntryOptions,
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
  QueueHolder,
  QueuePolicy,
  QueueShard,
  QueueStatus,
  Revision,
  Transaction,
  TxId,
  TxOperation,
  TxOutcome,
  VerifiedSummary,
} from "@cairn/client";
export { type Director, type DirectorOptions, type EntryHandler, GiveUp } from "@cairn/client";
export { WatchCompactedError } from "./index/read/watch-compacted.ts";
export type { TransactionEvent, WatchChange } from "./index/read/transaction-event.ts";
export type * from "./watch/watch-event.ts";
/** An index as of a point in the past, built from checkpoints and log backups. */
export { restoreIndex, type RestoredIndex, type RestoreIndexOptions } from "./replay/restored-index.ts";
export { filesystemStore, s3Store } from "@cairn/checkpoint";
export type { CheckpointStore } from "@cairn/checkpoint";
