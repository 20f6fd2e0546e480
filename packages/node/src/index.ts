export { CairnError, type ErrorCode, isCairnError } from "@cairn/kv";
/** A running node, which provides everything that is served over HTTP, its events, and the interfaces of a log of your own. */
export * from "@cairn/engine/embedding";
/** Starts the node that a system of `@cairn/config` describes, as the command `cairn start` does. */
export { readFilesOf, runNode, startNode, type StartNodeOptions } from "./start-node.ts";
/** `ConfigError` of `startNode` has all problems; `formatProblems` is how the command line prints them. */
export { ConfigError, type ConfigProblem, formatProblems } from "@cairn/config";
/** The context passed to a module of your own. */
export type { ModuleContext } from "@cairn/config";
/** Transactions and their outcomes, policies and the status. They are the same as over HTTP. */
export type {
  AnyOperation,
  BoundPolicy,
  BucketSummary,
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
  Position,
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
export { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
