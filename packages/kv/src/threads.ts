// This is a separate entry point, so that worker threads do not have to load LevelDB.
export { CairnError, isCairnError, systemErrorCode } from "./errors/errors.ts";
export { Inbox } from "./concurrency/inbox.ts";
export { type Paired, startThreadPair, type ThreadPair } from "./concurrency/thread-pair.ts";
export * from "./concurrency/worker-thread.ts";
