export { CairnError, ERROR_CODES, isCairnError } from "@cairn/kv";
/** What `code` of an error can be. */
export type { ErrorCode } from "@cairn/kv";
/** What `onEvent` is told. */
export type * from "./observe/node-event.ts";
/** What reads of a node answer. */
export type * from "./index/read/documents.ts";
/** What `buckets` answers of each. */
export type { BucketSummary, FieldSummary } from "./index/read/bucket-reads.ts";
/** What `commitResult` returns. */
export type { CommitResult } from "./index/apply/recent-outcomes.ts";
/** What `events` answers. */
export type { EventPage, RecordedEvent } from "./index/read/event-reads.ts";
/** What `evictions` tells of each. */
export type { Eviction } from "./index/read/eviction-reads.ts";
/** What `where` of a list asks. */
export type { FieldQuery } from "./index/read/field-query.ts";
/** A running node: everything that HTTP serves, and what its methods take and answer. */
export type * from "./api/node-api.ts";
export { runNode } from "./node/node.ts";
/** What starting a node answers and takes. */
export type { CairnNode, RunOptions } from "./node/node.ts";
export { startNode } from "./node/start-node.ts";
/** What `startNode` takes. */
export type { StartNodeOptions } from "./node/start-node.ts";
export { createSystem } from "./config/create-system.ts";
/** What a module of one's own is given. */
export type { ModuleContext } from "./config/types/module-kinds.ts";
export { readConfig, requireConfig } from "./config/read-config.ts";
/** A configuration that was read, or all that is wrong with it. */
export type { ConfigResult, ResolvedConfig } from "./config/read-config.ts";
export { ConfigError, formatProblems } from "./config/source/problems.ts";
/** One thing that is wrong with it, with its place. */
export type { ConfigProblem } from "./config/source/problems.ts";
/** What a node is made of: for programs that put one together themselves. */
export type { HttpOptions, OnLogMismatch, System, TrimPolicy } from "./system/system.ts";
/** How a log of one's own lets its nodes reach one another. */
export type * from "./log/peer-channel.ts";
/** What is submitted, what becomes of it, and what a node says of itself: the same as over HTTP. */
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
/** What a log of one's own implements. */
export type * from "./log/tx-log.ts";
export { VERSION } from "./system/version.ts";
export { WatchCompactedError } from "./index/read/watch-compacted.ts";
/** What watching gives. */
export type { TransactionEvent, WatchChange } from "./index/read/transaction-event.ts";
export type * from "./watch/watch-event.ts";
