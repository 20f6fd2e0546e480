// An entry of its own, because a thread that only does one thing need not load LevelDB.
export { CairnError, systemErrorCode } from "./errors/errors.ts";
export { Inbox, inboxOf } from "./concurrency/inbox.ts";
export { type Paired, startThreadPair, type ThreadPair } from "./concurrency/thread-pair.ts";
export {
  receiveError,
  sendError,
  type SentError,
  startWorker,
  WORTH_A_THREAD,
  yieldToOtherThreads,
} from "./concurrency/worker-thread.ts";
