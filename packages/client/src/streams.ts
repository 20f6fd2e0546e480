/** For programs that reach nodes by other means than this package's client. */
export { readEventStream, type SentEvent } from "./event-stream-reader.ts";
export {
  type FollowedTransaction,
  followStream,
  SILENCE_MS,
  WatchEndedError,
  type WatchPlace,
} from "./follow-stream.ts";
/** What cannot be sent as it is. */
export { jsonProblem } from "./json-problem.ts";
