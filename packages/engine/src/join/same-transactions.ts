import { createHash } from "node:crypto";
import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { messageIdentity, messageMark } from "../index/chains/message-identity.ts";
import { readOutcomes } from "../index/rows/outcome-rows.ts";
import { followLog, type FollowedLog } from "../log/follow-log.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";

/** What identifies a transaction at whatever position a log holds it: the mark of its message and its operations, or its id. */
export interface TransactionIdentity {
  readonly mark: string;
  /** The hash of its line of operations. Undefined where a history does not show them, because it had no effect there. */
  readonly operations: string | undefined;
  readonly id: string | undefined;
}

/** Reads a history, or a part of it, anew with each call. */
export type History = () => AsyncIterable<readonly TransactionIdentity[]>;

export function hashOfOperations(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}

/** The transactions of an index after `after`. */
export function historyOfRows(kv: KvReader, after: TxId, upTo: TxId): History {
  return async function* read() {
    for await (const outcomes of readOutcomes(kv, { after, upTo }))
      yield outcomes.map(({ outcome: { kind, mark, text } }) => {
        if (kind !== "committed") return { mark, operations: undefined, id: undefined };
        const { id } = text.includes('"id":') ? (JSON.parse(text) as { readonly id?: string }) : {};
        return { mark, operations: hashOfOperations(text), id };
      });
  };
}

/** The messages of a log from a position to its present end. */
export function historyOfLog(log: FollowedLog, from: number, signal: AbortSignal): History {
  return async function* read() {
    const { last } = await log.bounds();
    if (last < from) return;
    for await (const messages of followLog(log, { from, upTo: last, signal }))
      yield messages.flatMap((message): TransactionIdentity[] => {
        const decoded = decodeMessage(message.payload);
        if (decoded.kind !== "transaction") return [];
        const mark = messageMark(messageIdentity(message, true)).toString("hex");
        return [{ mark, operations: hashOfOperations(decoded.header.toString("utf8")), id: decoded.id }];
      });
    signal.throwIfAborted();
  };
}

/** Transactions that are sought in other histories, each once. */
export class SoughtTransactions<One extends TransactionIdentity> {
  readonly #byMark = new Map<string, One>();
  readonly #byId = new Map<string, One>();

  get size(): number {
    return this.#byMark.size;
  }

  add(one: One): void {
    if (this.#byMark.has(one.mark) || (one.id !== undefined && this.#byId.has(one.id))) return;
    this.#byMark.set(one.mark, one);
    if (one.id !== undefined) this.#byId.set(one.id, one);
  }

  /** Removes and returns the transaction that a history holds, if it is sought. */
  take({ mark, operations, id }: TransactionIdentity): One | undefined {
    const marked = this.#byMark.get(mark);
    const isSame = operations === undefined || operations === marked?.operations;
    const found = marked !== undefined && isSame ? marked : id === undefined ? undefined : this.#byId.get(id);
    if (found === undefined) return undefined;
    this.#byMark.delete(found.mark);
    if (found.id !== undefined) this.#byId.delete(found.id);
    return found;
  }

  values(): Iterable<One> {
    return this.#byMark.values();
  }
}

/** The size of a batch in memory: transactions, and bytes of them. The histories are read once for each batch. */
const AT_ONCE = { count: 10_000, bytes: 32 * 1024 * 1024 };

/** Yields, in their order, transactions with whether one of `histories` holds them, at whatever position. */
export async function* comparedWith<One extends TransactionIdentity & { readonly line: string | undefined }>(
  transactions: AsyncIterable<One>,
  histories: readonly History[],
): AsyncGenerator<{ readonly one: One; readonly isHeld: boolean }, void, void> {
  let together: One[] = [];
  let bytes = 0;
  async function* compared() {
    const sought = new SoughtTransactions<One>();
    for (const one of together) sought.add(one);
    for (const history of histories) {
      for await (const held of sought.size === 0 ? [] : history()) {
        for (const transaction of held) sought.take(transaction);
        if (sought.size === 0) break;
      }
    }
    const lost = new Set(sought.values());
    for (const one of together) yield { one, isHeld: !lost.has(one) };
    [together, bytes] = [[], 0];
  }
  for await (const one of transactions) {
    together.push(one);
    bytes += one.line?.length ?? 0;
    if (together.length >= AT_ONCE.count || bytes >= AT_ONCE.bytes) yield* compared();
  }
  yield* compared();
}
