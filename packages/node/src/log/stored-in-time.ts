import { CairnError, isCairnError } from "@cairn/kv";
import { Deadline, TIMED_OUT, withTimeout } from "../concurrency/time-limit.ts";

/**
 * The log's answer for a transaction that was appended to it, or `TX_TIMEOUT` after `timeoutMs`. After a timeout the outcome is unknown:
 * the log may have stored the transaction without answering, or may store it later.
 */
export async function storedInTime<T>(stored: Promise<T>, timeoutMs: number): Promise<T> {
  const limit = new Deadline(timeoutMs);
  let answer: T | typeof TIMED_OUT;
  try {
    answer = await withTimeout(stored, timeoutMs);
  } catch (error) {
    // A log that was given the same deadline reports the same timeout with a code of its own.
    if (limit.leftMs > 0 || !isCairnError(error, "LOG_UNREACHABLE")) throw error;
    throw notStoredInTime(timeoutMs, error);
  }
  if (answer !== TIMED_OUT) return answer;
  throw notStoredInTime(timeoutMs, undefined);
}

function notStoredInTime(timeoutMs: number, cause: unknown): CairnError {
  return new CairnError("TX_TIMEOUT", `The log did not answer for the transaction within ${timeoutMs} ms.`, {
    hint: "It may or may not be stored. With an id of its own it can be sent again: it is applied once. Without one, check whether its writes are there before you send it again.",
    cause,
  });
}
