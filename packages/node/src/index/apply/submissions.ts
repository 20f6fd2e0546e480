import type { KvOperation, KvReader } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexedMessage } from "./batches.ts";
import { sealed, unsealed } from "../rows/row-checksum.ts";
import { ROW, rowTxId, txRowKey, submissionRowKey } from "../rows/row-keys.ts";
import { decodeSubmission, encodeSubmission } from "../rows/row-values.ts";

/**
 * The number of transactions for which an idempotency id is remembered. A repetition within that range is not applied
 * again. The number is part of the index version, because every node must forget an id at the same transaction.
 */
export const REMEMBERED_TRANSACTIONS = 1_000_000;

/** The record that the index keeps of an idempotency id. */
export interface Submission {
  readonly txId: TxId;
  readonly contentHash: Uint8Array;
}

/** The idempotency ids of a batch: those that the index remembers, and those that the batch adds or forgets. */
export class Submissions {
  readonly #remembered: number;
  /** The submissions remembered at the current point of the batch, by id. */
  readonly #current = new Map<string, Submission>();
  /** The ids that have a row in the store. */
  readonly #stored = new Set<string>();
  /** The ids that transactions of the batch used. */
  readonly #added = new Set<string>();
  readonly #addedOrder: { readonly txId: TxId; readonly id: string }[] = [];
  /** The ids in the store whose transactions are too old once the batch is applied. */
  readonly #expired: { readonly txId: TxId; readonly id: string }[] = [];

  private constructor(remembered: number) {
    this.#remembered = remembered;
  }

  /** Reads the stored records for the ids in `messages`, which follow transaction `before`. */
  static async load(
    messages: readonly IndexedMessage[],
    before: TxId,
    reader: KvReader,
    remembered = REMEMBERED_TRANSACTIONS,
  ): Promise<Submissions> {
    const submissions = new Submissions(remembered);
    const ids = new Set<string>();
    for (const { decoded } of messages) {
      if (decoded.kind === "transaction" && decoded.id !== undefined) ids.add(decoded.id);
    }
    const floor = before + messages.length - remembered;
    if (floor > 0) await submissions.#loadExpired({ after: before - remembered, floor }, reader, ids);
    if (ids.size > 0) await submissions.#loadKnown([...ids], reader);
    return submissions;
  }

  /** Returns the submission remembered for `id` when transaction `txId` is applied. */
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

  /** Yields the rows that the batch changes. `last` is its last transaction. */
  *rows(last: TxId): Generator<KvOperation> {
    const floor = last - this.#remembered;
    for (const { txId } of this.#expired) yield { type: "del", key: txRowKey(ROW.submissionOrder, txId) };
    for (const { txId, id } of this.#addedOrder) {
      // A batch that is longer than the number of remembered transactions forgets ids that it added itself.
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

  /**
   * Reads the ids of transactions up to `floor`. Skips those up to `after`, which have been removed, because reading
   * past removed rows is slow.
   */
  async #loadExpired(
    { after, floor }: { readonly after: TxId; readonly floor: TxId },
    reader: KvReader,
    ids: Set<string>,
  ): Promise<void> {
    const range = {
      gte: txRowKey(ROW.submissionOrder, Math.max(after, 0) + 1),
      lt: txRowKey(ROW.submissionOrder, floor + 1),
    };
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
