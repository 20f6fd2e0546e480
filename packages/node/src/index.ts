export { CairnError, isCairnError } from "@cairn/kv";
export type { ErrorCode } from "@cairn/kv";
export type {
  NodeEvent,
  NodeEventListener,
  RemovedFile,
  Work,
  WorkBegun,
  WorkCost,
  WorkEnded,
  WorkEnds,
  WorkFailed,
  WorkResults,
} from "@cairn/engine";
export type { AsOf, DocumentPage, DocumentVersion, HistoryPage, StoredDocument } from "@cairn/engine";
/** The result of `commitResult`. */
export type { CommitResult } from "@cairn/engine";
export type {
  BucketSummary,
  EventPage,
  Eviction,
  FieldQuery,
  FieldSummary,
  RecordedEvent,
} from "@cairn/engine";
/** A running node, which provides everything that is served over HTTP, and the arguments and results of its methods. */
export type {
  BucketsPage,
  CheckpointResult,
  EventListQuery,
  EvictionPlaces,
  EvictionsPage,
  ListQuery,
  NodeApi,
  NodePolicies,
  OpenEntriesList,
  ReadOptions,
  SubmittedTransaction,
} from "@cairn/engine";
export type { CairnNode } from "@cairn/engine";
/** Starts the node that a system of `@cairn/config` describes, as the command `cairn start` does. */
export { runNode } from "./run-node.ts";
export { startNode } from "./start-node.ts";
export type { StartNodeOptions } from "./start-node.ts";
/** `ConfigError` of `startNode` has all problems; `formatProblems` is how the command line prints them. */
export { ConfigError, formatProblems } from "@cairn/config";
export type { ConfigProblem } from "@cairn/config";
/** The context passed to a module of your own. */
export type { ModuleContext } from "@cairn/config";
/** The interface that a log of your own implements. */
export type { Appended, LogBackupSource, LogBounds, LogMessage, LogReadOptions, TxLog } from "@cairn/engine";
/** The interface that a log of your own implements if nodes reach one another through it. */
export type { PeerChannel, SendAnswer } from "@cairn/engine";
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
export { WatchCompactedError } from "@cairn/engine";
export type { TransactionEvent, WatchChange } from "@cairn/engine";
export type { CutoffEvent, CutoffReason, HeartbeatEvent, Watch, WatchEvent, WatchQuery } from "@cairn/engine";
/** An index as of a point in the past, built from checkpoints and log backups. */
export { restoreIndex, type RestoredIndex, type RestoreIndexOptions } from "@cairn/engine";
export { filesystemStore } from "@cairn/checkpoint";
export type { CheckpointStore } from "@cairn/checkpoint";
