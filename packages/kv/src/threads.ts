// An entry of its own, because a thread that only does one thing need not load LevelDB.
export {
  receiveError,
  sendError,
  type SentError,
  startWorker,
  WORTH_A_THREAD,
  yieldToOtherThreads,
} from "./worker-thread.ts";
