export { CairnError, ERROR_CODES, isCairnError } from "@cairn/kv";
/** What `code` of an error can be. */
export type { ErrorCode } from "@cairn/kv";
/** What `onEvent` is told. */
export type * from "./events/node-event.ts";
/** What reads of a node answer. */
export type { BucketSummary, FieldSummary } from "./index-store/bucket-reads.ts";
/** What `events` answers. */
export type { EventPage, RecordedEvent } from "./index-store/event-reads.ts";
/** What `evictions` tells of each. */
export type { Eviction } from "./index-store/eviction-reads.ts";
/** What `where` of a list asks. */
export type { FieldQuery } from "./index-store/list-where.ts";
/** A running node: everything that HTTP serves, and what its methods take and answer. */
export type * from "./node-api.ts";
export { runNode } from "./node.ts";
/** What starting a node answers and takes. */
export type { CairnNode, RunOptions } from "./node.ts";
export { startNode } from "./start-node.ts";
/** What `startNode` takes. */
export type { StartNodeOptions } from "./start-node.ts";
export { createSystem } from "./system/create-system.ts";
/** What a module of one's own is given. */
export type { ModuleContext } from "./system/module-kinds.ts";
export { readConfig, requireConfig } from "./system/read-config.ts";
/** A configuration that was read, or all that is wrong with it. */
export type { ConfigResult, ResolvedConfig } from "./system/read-config.ts";
export { ConfigError, formatProblems } from "./system/problems.ts";
/** One thing that is wrong with it, with its place. */
export type { ConfigProblem } from "./system/problems.ts";
/** What a node is made of: for programs that put one together themselves. */
export type { HttpOptions, OnLogMismatch, System, TrimPolicy } from "./system/system.ts";
/** Policies as they are written. */
export type * from "./policies/policies.ts";
/** Reads of what is no document. */
export type * from "./state-api.ts";
/** An event as an application records it. */
export type * from "./tx-log/event-record.ts";
/** How a log of one's own lets its nodes reach one another. */
export type * from "./tx-log/peer-channel.ts";
/** What is submitted, and what becomes of it. */
export type * from "./tx-log/transaction.ts";
/** What a log of one's own implements. */
export type * from "./tx-log/tx-log.ts";
export { VERSION } from "./version.ts";
export { WatchCompactedError } from "./watch/watch-event.ts";
/** What watching gives. */
export type * from "./watch/watch-event.ts";
