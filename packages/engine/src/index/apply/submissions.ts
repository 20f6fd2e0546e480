import type { KvOperation, KvReader, KvRow } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexedMessage } from "./batches.ts";
import { REMEMBERED_TRANSACTIONS } from "@cairn/client/protocol";
import { allRows, MAX_SINGLE_READS, readRows } from "../rows/row-cursor.ts";
import { sealed, unsealed } from "../rows/row-checksum.ts";
import { ROW, rowTxId, txRowKey, submissionRowKey } from "../rows/row-keys.ts";
import { decodeSubmission, encodeSubmission } from "../rows/row-values.ts";

export interface Submission {
  readonly txId: TxId;
  readonly contentHash: Uint8Array;
}

/** Undefined if no remembered transaction used the id. */
export async function readSubmission(reader: KvReader, id: string): Promise<Submission | undefined> {
  const key = submissionRowKey(id);
  const value = await reader.get(key);
  return value && decodeSubmission(key, value);
}

/** Like {@link readSubmission}, in the order of `ids`. */
export async function readSubmissions(
  reader: KvReader,
  ids: readonly string[],
): Promise<readonly (Submission | undefined)[]> {
  if (ids.length === 0) return [];
  const keys = ids.map(submissionRowKey);
  const values = await reader.getMany(keys);
  return keys.map((key, at) => values[at] && decodeSubmission(key, values[at]));
}

interface UsedId {
  readonly txId: TxId;
  readonly id: string;
}

/**
 * Reads the stored ids of the transactions after `after`, up to and including `upTo`, oldest first: few of them one by
 * one, so that a single write needs no range of the store.
 */
async function idsOf(after: TxId, upTo: TxId, reader: KvReader): Promise<readonly UsedId[]> {
  const from = Math.max(after, 0);
  const rows =
    upTo - from > MAX_SINGLE_READS
      ? await allRows(reader, { gte: orderKey(from + 1), lt: orderKey(upTo + 1) })
      : await readFew(from, upTo, reader);
  return rows.map(([key, value]) => ({ txId: rowTxId(key), id: unsealed(key, value).toString("utf8") }));
}

async function readFew(after: TxId, upTo: TxId, reader: KvReader): Promise<KvRow[]> {
  const keys: Buffer[] = [];
  for (let txId = after + 1; txId <= upTo; txId += 1) keys.push(orderKey(txId));
  const values = await readRows(reader, keys);
  return keys.flatMap((key, at) => (values[at] === undefined ? [] : [[key, values[at]] as const]));
}

function orderKey(txId: TxId): Buffer {
  return txRowKey(ROW.submissionOrder, txId);
}

export class Submissions {
  readonly #remembered: number;
  /** The submissions remembered at the current point of the batch, by id. */
  readonly #current = new Map<string, Submission>();
  readonly #stored = new Set<string>();
  readonly #added = new Set<string>();
  readonly #addedOrder: UsedId[] = [];
  /** The ids in the store whose transactions are too old once the batch is applied. */
  #expired: readonly UsedId[] = [];

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
    if (floor > 0) {
      // The ids of earlier transactions have been removed, and those of later ones are still to come.
      submissions.#expired = await idsOf(before - remembered, Math.min(floor, before), reader);
      for (const { id } of submissions.#expired) ids.add(id);
    }
    await submissions.#loadKnown([...ids], reader);
    return submissions;
  }

  get(id: string, txId: TxId): Submission | undefined {
    const found = this.#current.get(id);
    return found !== undefined && found.txId >= txId - this.#remembered ? found : undefined;
  }

  add(id: string, submission: Submission): void {
    this.#current.set(id, submission);
    this.#added.add(id);
    this.#addedOrder.push({ txId: submission.txId, id });
  }

  /** Yields the rows that the batch changes. `last` is its last transaction. */
  *rows(last: TxId): Generator<KvOperation> {
    const floor = last - this.#remembered;
    for (const { txId } of this.#expired) yield { type: "del", key: orderKey(txId) };
    for (const { txId, id } of this.#addedOrder) {
      // A batch that is longer than the number of remembered transactions forgets ids that it added itself.
      if (txId <= floor) continue;
      const key = orderKey(txId);
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

  async #loadKnown(ids: readonly string[], reader: KvReader): Promise<void> {
    const found = await readSubmissions(reader, ids);
    for (const [index, id] of ids.entries()) {
      const submission = found[index];
      if (submission === undefined) continue;
      this.#stored.add(id);
      this.#current.set(id, submission);
    }
  }
}
