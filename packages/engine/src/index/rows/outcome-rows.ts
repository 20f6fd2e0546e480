import type { KvReader, KvOperation } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { damagedRow, sealable, seal, SUM_BYTES, unsealed } from "./row-checksum.ts";
import { rowTxId, transactionRowKey } from "./row-keys.ts";
import { decodeOutcome, type Outcome } from "./row-values.ts";

/*
 * The outcomes of 32 successive transactions that are applied in one batch share a row, because a row costs LevelDB
 * more than its content does. The row has the key of the last of them. Outcomes that are large together keep rows of
 * their own, so that reading one never means reading much more. The outcomes are the same on every node, but which of
 * them share a row depends on how the log was divided into batches.
 */

/** The number of transactions whose outcomes share a row. The last of them has an id that is divisible by it. */
export const OUTCOMES_IN_ROW = 32;
const MAX_SHARED_BYTES = 16 * 1024;
/** The first byte of a shared row's content; in a row of its own, an outcome begins with its kind. */
const SHARED = 0xff;
const LENGTH_BYTES = 4;

function lastInRow(txId: TxId): TxId {
  return Math.ceil(txId / OUTCOMES_IN_ROW) * OUTCOMES_IN_ROW;
}

export function isLastInRow(txId: TxId): boolean {
  return txId % OUTCOMES_IN_ROW === 0;
}

/**
 * Returns the value of the row that successive transactions share, given the values that rows of their own would have;
 * undefined if it would be too large. `key` is the row key of the last of them.
 */
function encodeShared(key: Uint8Array, values: readonly Uint8Array[]): Buffer | undefined {
  let length = 1;
  for (const value of values) length += LENGTH_BYTES + value.length;
  if (length > MAX_SHARED_BYTES) return undefined;
  const row = sealable(length);
  let at = SUM_BYTES;
  row[at] = SHARED;
  at += 1;
  for (const value of values) {
    at = row.writeUInt32BE(value.length, at);
    row.set(value, at);
    at += value.length;
  }
  return seal(key, row);
}

/**
 * Returns the values in a row in the order of their transactions, each as it would be in a row of its own. Throws
 * `INDEX_CORRUPT` if the row is not what was written.
 */
export function valuesIn(key: Uint8Array, row: Uint8Array): readonly (readonly [TxId, Uint8Array])[] {
  const last = rowTxId(key);
  // The checksum is compared first, because a damaged first byte would hide the other outcomes.
  const content = unsealed(key, row);
  if (content[0] !== SHARED) return [[last, row]];
  const values: Buffer[] = [];
  for (let at = 1; at < content.length;) {
    if (at + LENGTH_BYTES > content.length) throw damagedRow(key);
    const begin = at + LENGTH_BYTES;
    at = begin + content.readUInt32BE(at);
    if (at > content.length) throw damagedRow(key);
    values.push(content.subarray(begin, at));
  }
  const first = last - values.length + 1;
  return values.map((value, index) => [first + index, value]);
}

export async function readOutcome(reader: KvReader, txId: TxId): Promise<Outcome | undefined> {
  const key = transactionRowKey(txId);
  const own = await reader.get(key);
  if (own !== undefined) return outcomeIn(key, own, txId);
  const last = transactionRowKey(lastInRow(txId));
  const shared = await reader.get(last);
  return shared === undefined ? undefined : outcomeIn(last, shared, txId);
}

function outcomeIn(key: Uint8Array, row: Uint8Array, txId: TxId): Outcome | undefined {
  const found = valuesIn(key, row).find(([id]) => id === txId);
  return found === undefined ? undefined : decodeOutcome(transactionRowKey(txId), found[1]);
}

/**
 * Yields the outcomes of the transactions after `after`, up to and including `upTo`, in arrays of bounded size, in
 * their order or, with `reverse`, in the opposite order. There are at most `limit` of them.
 */
export async function* readOutcomes(
  reader: KvReader,
  range: { readonly after: TxId; readonly upTo: TxId; readonly reverse?: boolean; readonly limit?: number },
): AsyncGenerator<
  readonly { readonly txId: TxId; readonly outcome: Outcome; readonly bytes: number }[],
  void,
  undefined
> {
  const { after, upTo, reverse = false, limit = Number.POSITIVE_INFINITY } = range;
  let left = limit;
  const bounds = { gt: transactionRowKey(after), lte: transactionRowKey(lastInRow(upTo)) };
  // In the opposite order, rows of transactions after `upTo` may come first.
  const limited = limit === Number.POSITIVE_INFINITY ? {} : { limit: limit + OUTCOMES_IN_ROW };
  const rows = reader.range({ ...bounds, ...limited, reverse });
  for await (const page of rows) {
    const outcomes = page.flatMap(([key, row]) => {
      const values = valuesIn(key, row).filter(([txId]) => txId > after && txId <= upTo);
      return (reverse ? values.toReversed() : values).map(([txId, value]) => {
        return { txId, outcome: decodeOutcome(transactionRowKey(txId), value), bytes: value.length };
      });
    });
    if (outcomes.length > 0) yield outcomes.slice(0, left);
    left -= outcomes.length;
    if (left <= 0) return;
  }
}

export class OutcomeBatch {
  readonly #rows: KvOperation[] = [];
  /** The rows that may yet be replaced by a shared one. */
  #open: { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];

  /** Adds the outcome of the next transaction, as it is in a row of its own. */
  add(txId: TxId, key: Uint8Array, value: Uint8Array): void {
    this.#open.push({ key, value });
    if (!isLastInRow(txId)) return;
    // If a part of the outcomes is in the store already, moving them would cost more than the shared row saves.
    const isWhole = this.#open.length === OUTCOMES_IN_ROW;
    const shared = isWhole
      ? encodeShared(
          key,
          this.#open.map((row) => row.value),
        )
      : undefined;
    if (shared !== undefined) this.#rows.push({ type: "put", key, value: shared });
    else this.#addOwn();
    this.#open = [];
  }

  rows(): readonly KvOperation[] {
    this.#addOwn();
    return this.#rows;
  }

  #addOwn(): void {
    for (const { key, value } of this.#open) this.#rows.push({ type: "put", key, value });
    this.#open = [];
  }
}
