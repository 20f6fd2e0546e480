import { createHash } from "node:crypto";
import type { KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import { readSubmissions, type Submission } from "../index/apply/submissions.ts";
import { messageIdentity, messageMark } from "../index/chains/message-identity.ts";
import { readOutcomes } from "../index/rows/outcome-rows.ts";
import { followLog, type FollowedLog } from "../log/follow-log.ts";
import { contentHash } from "../transactions/message-frame.ts";
import { decodeMessage } from "../transactions/transaction-codec.ts";

/** How a transaction is recognized at whatever position a history holds it. */
interface TransactionIdentity {
  /** Each of these identifies it: its message, its content, or an id that is derived from its content. */
  readonly names: readonly string[];
  /** Other content may have the same one in another history. */
  readonly id: string | undefined;
}

export interface SoughtTransaction extends TransactionIdentity {
  /** These identify it only where a history does not show more. */
  readonly weakNames: readonly string[];
}

/** Reads a history, or a part of it, anew with each call. */
export type History = () => AsyncIterable<readonly TransactionIdentity[]>;

export function hashOfOperations(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}

/** The name of a message with this line of operations, because a mark alone is short. */
export function messageName(mark: string, text: string): string {
  return `${mark} ${hashOfOperations(text)}`;
}

export function historyOfRows(kv: KvReader, after: TxId, upTo: TxId): History {
  return async function* read() {
    for await (const outcomes of readOutcomes(kv, { after, upTo })) {
      const shown = outcomes.map(({ txId, outcome: { kind, mark, text } }) => {
        if (kind !== "committed") return { txId, id: undefined, names: [mark] };
        const { id } = text.includes('"id":') ? (JSON.parse(text) as { readonly id?: string }) : {};
        return { txId, id, names: [messageName(mark, text)], operations: hashOfOperations(text) };
      });
      const used = shown.flatMap(({ txId, id }) => (id === undefined ? [] : [{ txId, id }]));
      const contents = await readContentNames(kv, used);
      yield shown.map(({ txId, id, names, operations = "" }) =>
        // An index forgets the content of old transactions, but not their operations, which contain the id.
        id === undefined ? { id, names } : { id, names: [...names, contents.get(txId) ?? operations] },
      );
    }
  };
}

/** Returns the names of the content of transactions that an index remembers by their ids. */
export async function readContentNames(
  kv: KvReader,
  used: readonly { readonly txId: TxId; readonly id: string }[],
): Promise<ReadonlyMap<TxId, string>> {
  const found = await readSubmissions(
    kv,
    used.map(({ id }) => id),
  );
  return new Map(
    used.flatMap(({ txId }, at) => {
      const one = found[at];
      return one?.txId === txId ? [[txId, contentName(one)] as const] : [];
    }),
  );
}

export function contentName({ contentHash: hash }: Pick<Submission, "contentHash">): string {
  return Buffer.from(hash).toString("base64");
}

/** The messages of a log from a position to its present end. */
export function historyOfLog(log: FollowedLog, from: number, signal: AbortSignal): History {
  return async function* read() {
    const { last } = await log.bounds();
    if (last < from) return;
    for await (const messages of followLog(log, { from, upTo: last, signal }))
      yield messages.flatMap((message): TransactionIdentity[] => {
        const { payload } = message;
        const decoded = decodeMessage(payload);
        if (decoded.kind !== "transaction") return [];
        const mark = messageMark(messageIdentity(message, true)).toString("hex");
        const content = contentName({ contentHash: contentHash(payload) });
        return [{ names: [messageName(mark, decoded.header.toString("utf8")), content], id: decoded.id }];
      });
    signal.throwIfAborted();
  };
}

export class SoughtTransactions<One extends SoughtTransaction> {
  readonly #left = new Set<One>();
  readonly #byName = new Map<string, One>();
  readonly #byId = new Map<string, One>();
  readonly #taken = new Set<One>();
  readonly #takenBefore = new Set<One>();

  get size(): number {
    return this.#left.size;
  }

  add(one: One): void {
    this.#left.add(one);
    for (const name of [...one.names, ...one.weakNames]) this.#byName.set(name, one);
    if (one.id !== undefined) this.#byId.set(one.id, one);
  }

  /** Removes and returns the transaction that a history holds, if it is sought. A history is given in its order. */
  take({ names, id }: TransactionIdentity): One | undefined {
    const ofId = id === undefined ? undefined : this.#byId.get(id);
    for (const name of id === undefined ? names : [...names, id]) {
      const found = this.#byName.get(name);
      // What follows other content with the same id was aborted.
      if (found !== undefined && found === ofId && this.#takenBefore.has(found)) return undefined;
      if (found !== undefined && this.#left.delete(found)) return found;
    }
    if (ofId === undefined) return undefined;
    this.#taken.add(ofId);
    this.#takenBefore.add(ofId);
    return undefined;
  }

  endHistory(): void {
    this.#takenBefore.clear();
  }

  has(one: One): boolean {
    return this.#left.has(one);
  }

  /** Whether a history has given the id of the transaction to other content. */
  isIdTaken(one: One): boolean {
    return this.#taken.has(one);
  }
}

/** The size of a batch in memory: transactions, and bytes of them. The histories are read once for each batch. */
const AT_ONCE = { count: 10_000, bytes: 32 * 1024 * 1024 };

/**
 * Yields, in their order, transactions with whether one of `histories` holds them, at whatever position, and whether one
 * has given the id of a transaction that none holds to other content.
 */
export async function* comparedWith<One extends SoughtTransaction & { readonly line: string | undefined }>(
  transactions: AsyncIterable<One>,
  histories: readonly History[],
): AsyncGenerator<{ readonly one: One; readonly isHeld: boolean; readonly isIdTaken: boolean }, void, void> {
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
      sought.endHistory();
    }
    for (const one of together) yield { one, isHeld: !sought.has(one), isIdTaken: sought.isIdTaken(one) };
    [together, bytes] = [[], 0];
  }
  for await (const one of transactions) {
    together.push(one);
    bytes += one.line?.length ?? 0;
    if (together.length >= AT_ONCE.count || bytes >= AT_ONCE.bytes) yield* compared();
  }
  yield* compared();
}
