import type { LogMessage, LogReadOptions } from "../log/tx-log.ts";

const DEFAULT_MESSAGES = 5_000;
const DEFAULT_BYTES = 8 * 1024 * 1024;

/** Yields messages in arrays that keep the bounds of a reading. */
export function* inArrays(
  messages: readonly LogMessage[],
  { maxMessages = DEFAULT_MESSAGES, maxBytes = DEFAULT_BYTES }: LogReadOptions,
): Generator<readonly LogMessage[], void, void> {
  let from = 0;
  let bytes = 0;
  for (const [at, { payload }] of messages.entries()) {
    const isFull = at - from >= maxMessages || (at > from && bytes + payload.length > maxBytes);
    if (isFull) {
      yield messages.slice(from, at);
      from = at;
      bytes = 0;
    }
    bytes += payload.length;
  }
  if (from < messages.length) yield messages.slice(from);
}
