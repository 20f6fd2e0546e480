/** What a program that embeds a node uses: `@cairn/node` exports all of it. */
export type * from "./api/node-api.ts";
export type { CommitResult } from "./index/apply/recent-outcomes.ts";
export type * from "./index/read/documents.ts";
export type { EventPage, RecordedEvent } from "./index/read/event-reads.ts";
export type { Eviction } from "./index/read/eviction-reads.ts";
export type { FieldQuery, ListSelection } from "./index/read/field-query.ts";
export type { TransactionEvent, WatchChange } from "./index/read/transaction-event.ts";
export { WatchCompactedError } from "./index/read/watch-compacted.ts";
export { type AppendPlace, AppendSequence } from "./log/append-sequence.ts";
/** The interface that a log of your own implements, and that with which nodes reach one another through it. */
export type {
  Appended,
  AppendOptions,
  LogBackupSource,
  LogBounds,
  LogMessage,
  LogReadOptions,
  TxLog,
} from "./log/tx-log.ts";
export type * from "./log/peer-channel.ts";
export type { CairnNode } from "./node/node.ts";
export { openCheckpoint, type OpenCheckpointOptions, type OpenedCheckpoint } from "./node/open-checkpoint.ts";
export type * from "./observe/node-event.ts";
export type { IndexQueryOptions } from "./own-indexes/queries/index-queries.ts";
export type { QueryRows } from "./own-indexes/queries/asked-query.ts";
export type {
  IndexBatch,
  IndexCapture,
  IndexQuery,
  OwnIndex,
  OwnIndexContext,
  OwnIndexModule,
  QueryAnswer,
  QueryLimits,
} from "./own-indexes/own-index.ts";
export type { StateChange } from "./index/read/states.ts";
export type { FollowEvent, FollowQuery, StatesBatch } from "./watch/follow-session.ts";
export type * from "./watch/watch-event.ts";
