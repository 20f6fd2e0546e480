/** What clients and the packages of nodes share, without the client, for threads that load little. */
export { ERROR_CODES, type ErrorCode } from "./types/error-codes.ts";
export { type CancelTimer, MAX_TIMER_MS, startTimer, wait } from "./types/timing.ts";
