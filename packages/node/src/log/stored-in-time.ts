import { CairnError, isCairnError } from "@cairn/kv";
import { inTime, LATE } from "../concurrency/in-time.ts";
import { TimeLimit } from "../concurrency/time-limit.ts";

/**
 * What the log answers for a transaction that was handed to it, or `TX_TIMEOUT` after `timeoutMs`, whatever the log does. Whether the
 * transaction is stored is not known then: the log may have it and not have said so, and may store what is already on its way.
 */
export async function storedInTime<T>(stored: Promise<T>, timeoutMs: number): Promise<T> {
  const limit = new TimeLimit(timeoutMs);
  let answer: T | typeof LATE;
  try {
    answer = await inTime(stored, timeoutMs);
  } catch (error) {
    // A log that was given the same limit and gave up at its end says the same with another code.
    if (limit.leftMs > 0 || !isCairnError(error, "LOG_UNREACHABLE")) throw error;
    throw notStoredInTime(timeoutMs, error);
  }
  if (answer !== LATE) return answer;
  throw notStoredInTime(timeoutMs, undefined);
}

function notStoredInTime(timeoutMs: number, cause: unknown): CairnError {
  return new CairnError("TX_TIMEOUT", `The log did not answer for the transaction within ${timeoutMs} ms.`, {
    hint: "It may or may not be stored. With an id of its own it can be sent again: it is applied once. Without one, read what it was to write before you send it again.",
    cause,
  });
}
