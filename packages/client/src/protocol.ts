/** Requests, responses and streams of nodes, for programs with their own transport or errors. */
export * from "./queues/drain-shard.ts";
export type { NodeAccess } from "./node-access.ts";
export { directQueue } from "./queues/director.ts";
export { durationMs } from "./queues/entry-rules.ts";
export {
  MAKE_QUEUE,
  type OpenEntriesQuestion,
  type QueueAccess,
  queueAccess,
  reasonWords,
} from "./queues/queue-access.ts";
export { isLost, refusalHint } from "./refusals.ts";
export { CairnClientError } from "./types/client-error.ts";
export { CLIENT_CODES } from "./types/error-codes.ts";
export {
  type FollowedTransaction,
  followStream,
  readEventStream,
  type SentEvent,
  SILENCE_MS,
  WatchEndedError,
} from "./follow-stream.ts";
export { isoDuration } from "./types/iso-duration.ts";
export { jsonProblem } from "./types/json-problem.ts";
export {
  ForeignAnswerError,
  type JsonAnswer,
  type NodeAnswer,
  type NodeRequest,
  readJsonAnswer,
  sendRequest,
  type Transport,
} from "./node-request.ts";
export {
  bucketPath,
  nextCursor,
  pagePlace,
  pointText,
  queuePath,
  revisionOf,
  splitKey,
} from "./request-parts.ts";
export { isTransient } from "./node-pool.ts";
export { LIST_FIRST } from "./watch-transactions.ts";
export { retryPauseMs, timeoutSignal } from "./types/timing.ts";
export { LIMITS, REMEMBERED_TRANSACTIONS } from "./types/limits.ts";
export { ALL_RIGHTS, includesRight, type Right } from "./types/rights.ts";
