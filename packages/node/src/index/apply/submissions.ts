import type { KvOperation, KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexedMessage } from "./batches.ts";
import { sealed, unsealed } from "../rows/row-checksum.ts";
import { ROW, rowTxId, txRowKey, submissionRowKey } from "../rows/row-keys.ts";
import { decodeSubmission, encodeSubmission } from "../rows/row-values.ts";

/**
 * For how many transactions an idempotency id is remembered: one that comes again among so many after its first is not applied
 * again. A part of the index version, because every node must forget the same id at the same transaction.
 */
export const REMEMBERED_TRANSACTIONS = 1_000_000;

/** What is remembered of an id. */
export interface Submission {
  readonly txId: TxId;
  readonly contentHash: Uint8Array;
}

/** The idempotency ids that a batch meets: those that the index remembers, those that it adds, those that it forgets. */
export class Submissions {
  readonly #remembered: number;
  /** By id, what is remembered of it at the point that the batch has come to. */
  readonly #current = new Map<string, Submission>();
  /** Ids that have a row in the store. */
  readonly #stored = new Set<string>();
  /** Ids that transactions of the batch used. */
  readonly #added = new Set<string>();
  readonly #addedOrder: { readonly txId: TxId; readonly id: string }[] = [];
  /** What the store remembers of transactions that are too long ago once the batch's last one is applied. */
  readonly #expired: { readonly txId: TxId; readonly id: string }[] = [];

  private constructor(remembered: number) {
    this.#remembered = remembered;
  }

  /** Reads what `messages`, the last of which gets the id `last`, may meet. */
  static async load(
    messages: readonly IndexedMessage[],
    last: TxId,
    reader: KvReader,
    remembered = REMEMBERED_TRANSACTIONS,
  ): Promise<Submissions> {
    const submissions = new Submissions(remembered);
    const ids = new Set<string>();
    for (const { decoded } of messages) {
      if (decoded.kind === "transaction" && decoded.id !== undefined) ids.add(decoded.id);
    }
    if (last > remembered) await submissions.#loadExpired(last - remembered, reader, ids);
    if (ids.size > 0) await submissions.#loadKnown([...ids], reader);
    return submissions;
  }

  /** What is remembered of `id` when transaction `txId` is applied. */
  get(id: string, txId: TxId): Submission | undefined {
    const found = this.#current.get(id);
    return found !== undefined && found.txId > txId - this.#remembered ? found : undefined;
  }

  /** Remembers that `txId` used `id`. */
  add(id: string, submission: Submission): void {
    this.#current.set(id, submission);
    this.#added.add(id);
    this.#addedOrder.push({ txId: submission.txId, id });
  }

  /** The rows that say so after transaction `last`. */
  *rows(last: TxId): Generator<KvOperation> {
    const floor = last - this.#remembered;
    for (const { txId } of this.#expired) yield { type: "del", key: txRowKey(ROW.submissionOrder, txId) };
    for (const { txId, id } of this.#addedOrder) {
      // A batch longer than the memory forgets what it has added itself.
      if (txId <= floor) continue;
      const key = txRowKey(ROW.submissionOrder, txId);
      yield { type: "put", key, value: sealed(key, Buffer.from(id, "utf8")) };
    }
    for (const id of new Set([...this.#added, ...this.#expired.map((one) => one.id)])) {
      const current = this.#current.get(id);
      const key = submissionRowKey(id);
      if (current === undefined || current.txId <= floor) {
        if (this.#stored.has(id)) yield { type: "del", key };
      } else if (this.#added.has(id)) {
        yield { type: "put", key, value: encodeSubmission(key, current.txId, current.contentHash) };
      }
    }
  }

  async #loadExpired(floor: TxId, reader: KvReader, ids: Set<string>): Promise<void> {
    const range = { gte: Buffer.from([ROW.submissionOrder]), lt: txRowKey(ROW.submissionOrder, floor + 1) };
    for await (const rows of reader.range(range)) {
      for (const [key, value] of rows) {
        const id = unsealed(key, value).toString("utf8");
        this.#expired.push({ txId: rowTxId(key), id });
        ids.add(id);
      }
    }
  }

  async #loadKnown(ids: readonly string[], reader: KvReader): Promise<void> {
    const keys = ids.map(submissionRowKey);
    const values = await reader.getMany(keys);
    for (const [index, id] of ids.entries()) {
      const value = values[index];
      const key = keys[index];
      if (value === undefined || key === undefined) continue;
      this.#stored.add(id);
      this.#current.set(id, decodeSubmission(key, value));
    }
  }
}
