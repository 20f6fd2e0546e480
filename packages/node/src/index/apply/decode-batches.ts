import type { LogMessage } from "../../log/tx-log.ts";
import { type DecodedMessage, decodeMessage } from "../../transactions/transaction-codec.ts";

/** A message of the log, decoded once. */
export interface IndexedMessage {
  readonly message: LogMessage;
  readonly decoded: DecodedMessage;
}

/** Bounds of a batch: its rows are all in memory, and short-lived objects are cheaper than long-lived ones. */
const MOST_MESSAGES = 1_000;
const MOST_BYTES = 2 * 1024 * 1024;

/**
 * Decodes messages, in batches as they are asked for. A batch is of bounded size, and one begins before and after a transaction that
 * evicts (only then does the store show the versions that the eviction removes) or sets policies (one batch follows one set of them).
 */
export function* decodeBatches(messages: readonly LogMessage[]): Generator<IndexedMessage[], void> {
  let batch: IndexedMessage[] = [];
  let bytes = 0;
  for (const message of messages) {
    const indexed = { message, decoded: decodeMessage(message.payload) };
    const alone = isAlone(indexed.decoded);
    if (batch.length > 0 && (alone || batch.length === MOST_MESSAGES || bytes > MOST_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(indexed);
    bytes += message.payload.length;
    if (!alone) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}

function isAlone(decoded: DecodedMessage): boolean {
  if (decoded.kind !== "transaction") return decoded.kind === "birth";
  return decoded.ops.some(({ op }) => op === "evict" || op === "configure");
}
