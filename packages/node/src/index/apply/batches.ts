import type { KvReader } from "@cairn/kv";
import type { LogMessage } from "../../log/tx-log.ts";
import { type DecodedMessage, decodeMessage } from "../../transactions/transaction-codec.ts";
import { activePolicies } from "../policies/active-policies.ts";
import type { IndexState, StatePolicies } from "../rows/index-state.ts";
import { hasDue } from "./expiry.ts";
import { beforeSweep } from "./history-sweep.ts";

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

/** While documents expire, a batch is short: all of them are in memory. */
const MOST_EXPIRING = 64;

/**
 * How many of `messages` may be applied as one batch: none needs to see in the store what one before it in the batch has done to
 * history, or to the documents that are looked through.
 */
export async function batchLength(
  messages: readonly IndexedMessage[],
  state: IndexState,
  reader: KvReader,
): Promise<number> {
  const policies = activePolicies(state);
  if (policies === undefined) return messages.length;
  if (scans(state).length > 0) return 1;
  const [first] = messages;
  let most = messages.length;
  if (policies.history.size > 0 && first !== undefined) {
    most = Math.min(most, Math.max(1, beforeSweep(first.message.position + state.log.offset)));
  }
  if (policies.expire.size === 0 || most <= MOST_EXPIRING) return most;
  return (await hasDue(reader, lastTime(messages.slice(0, most), state))) ? MOST_EXPIRING : most;
}

export function scans({ policies }: IndexState): StatePolicies["scan"] {
  return policies?.scan ?? [];
}

export function lastTime(messages: readonly IndexedMessage[], { time }: IndexState): number {
  return messages.reduce((latest, { message }) => Math.max(latest, message.time), time);
}
