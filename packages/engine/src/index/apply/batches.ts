import type { KvReader } from "@cairn/kv";
import type { LogMessage } from "../../log/tx-log.ts";
import { type DecodedMessage, decodeMessage } from "../../transactions/transaction-codec.ts";
import { activePolicies } from "../policies/active-policies.ts";
import type { IndexState, StatePolicies } from "../rows/index-state.ts";
import { hasDue, messagesWhileExpiring } from "./expiry.ts";
import { untilSweep } from "./history-sweep.ts";

export interface IndexedMessage {
  readonly message: LogMessage;
  readonly decoded: DecodedMessage;
}

/**
 * The bounds of a batch. All rows of a batch are in memory, and short-lived objects cost less than long-lived ones.
 * With 2 MiB, a replay of large transactions needed a quarter more memory and was not faster (bench row workloads).
 */
const MAX_MESSAGES = 1_000;
const MAX_BYTES = 768 * 1024;

/**
 * Decodes messages lazily, in batches of bounded size. A transaction that evicts or sets policies is a separate batch,
 * because the evicted versions are removed before anything else is applied, and a batch follows a single set of
 * policies. A transaction that retires a shard is a separate batch, so that the removal of the shard's rows begins with
 * the next one, and so are a birth record and a message of a later format, which ends the application.
 */
export function* decodeBatches(messages: readonly LogMessage[]): Generator<IndexedMessage[], void> {
  let batch: IndexedMessage[] = [];
  let bytes = 0;
  for (const message of messages) {
    const indexed = { message, decoded: decodeMessage(message.payload) };
    const alone = isAlone(indexed.decoded);
    if (batch.length > 0 && (alone || batch.length === MAX_MESSAGES || bytes > MAX_BYTES)) {
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
  if (decoded.kind !== "transaction") return decoded.kind !== "unreadable";
  return decoded.ops.some(({ op }) => op === "evict" || op === "configure" || op === "retire");
}

/**
 * Returns how many of `messages` may be applied as one batch, as far as this depends on policies. Only the first may
 * sweep history or outcomes. None may depend on changes that earlier ones made to history or to documents that are
 * being scanned or removed, because these changes are not in the store yet.
 */
export async function batchLength(
  messages: readonly IndexedMessage[],
  state: IndexState,
  reader: KvReader,
): Promise<number> {
  if (state.policies === undefined) return messages.length;
  const policies = activePolicies(state);
  if (scans(state).length > 0 || state.retiring !== undefined) return 1;
  const [first] = messages;
  let most = messages.length;
  const isSwept = policies.history.size > 0 || policies.outcomes !== undefined;
  if (isSwept && first !== undefined) {
    const next = first.message.position + state.log.offset + 1;
    most = Math.min(most, untilSweep(next) + 1);
  }
  const whileExpiring = messagesWhileExpiring(state.largest);
  if (policies.expire.size === 0 || most <= whileExpiring) return most;
  const isExpiring = await hasDue(reader, lastTime(messages.slice(0, most), state), state.dueFrom);
  return isExpiring ? whileExpiring : most;
}

export function scans({ policies }: IndexState): StatePolicies["scan"] {
  return policies?.scan ?? [];
}

export function lastTime(messages: readonly IndexedMessage[], { time }: IndexState): number {
  return messages.reduce((latest, { message }) => Math.max(latest, message.time), time);
}
