// This is a separate entry point, so that worker threads do not have to load LevelDB.
export { CairnError, systemErrorCode } from "./errors/errors.ts";
export { Inbox } from "./concurrency/inbox.ts";
export { type Paired, startThreadPair, type ThreadPair } from "./concurrency/thread-pair.ts";
export {
  receiveError,
  requireThreadFiles,
  sendError,
  type SentError,
  ThreadModule,
  MIN_BYTES_FOR_THREAD,
  lowerThreadPriority,
} from "./concurrency/worker-thread.ts";
