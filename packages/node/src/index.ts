export { CairnError, type ErrorCode, isCairnError } from "@cairn/kv";
/** A running node, which provides everything that is served over HTTP, its events, and the interfaces of a log of your own. */
export * from "@cairn/engine/embedding";
/** Starts the node that a system of `@cairn/config` describes, as the command `cairn start` does. */
export { readFilesOf, runNode, startNode, type StartNodeOptions } from "./start-node.ts";
/** `ConfigError` of `startNode` has all problems; `formatProblems` is how the command line prints them. */
export { ConfigError, type ConfigProblem, formatProblems } from "@cairn/config";
/** The context passed to a module of your own. */
export type { ModuleContext, NodeConfig } from "@cairn/config";
/** The client, which a node provides as well (`node.client()`), and the types that both have. */
export * from "@cairn/client";
export { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
