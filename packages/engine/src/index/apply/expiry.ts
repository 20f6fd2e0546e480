import type { KvOperation, KvReader, KvRow } from "@cairn/kv";
import type { Json, TxId } from "@cairn/client";
import { type ActivePolicies, type ExpireRule, appliesTo } from "../policies/active-policies.ts";
import type { KeyState, KeyStates } from "./key-states.ts";
import {
  keysPerRead,
  dueRowKey,
  expiredRowKey,
  parseNumberedStem,
  parseStem,
  documentRowPrefix,
  prefixEnd,
  NO_STEM,
} from "../rows/row-keys.ts";
import { allRows, firstRow } from "../rows/row-cursor.ts";
import { sealed, unsealed } from "../rows/row-checksum.ts";
import { decodeNumber, encodeNumber } from "../rows/row-values.ts";
import {
  versionValueJson,
  versionValueRevision,
  versionValueTime,
  checkedVersion,
  headLength,
  withDocument,
} from "../rows/version-values.ts";
import { RowQueue } from "./row-queue.ts";
import type { StatePolicies } from "../rows/index-state.ts";
import { madeOnce } from "@cairn/text";

/** The maximum number of due rows that a transaction examines. It is part of the index version. */
const DUE_PER_TRANSACTION = 100;
/**
 * No further due row is examined once the documents of those examined have so many bytes. Part of the index version.
 */
const DUE_BYTES = 8 * 1024 * 1024;

const MAX_MESSAGES_WHILE_EXPIRING = 64;

/** Batches are short while documents of up to `largest` bytes expire, because all of these are in memory. */
export function messagesWhileExpiring(largest: number): number {
  const atOnce = Math.floor(keysPerRead(largest) / DUE_PER_TRANSACTION);
  return Math.min(MAX_MESSAGES_WHILE_EXPIRING, Math.max(1, atOnce));
}

/** Returns whether any document may be due at `time`. For `from`, see {@link IndexState}. */
export async function hasDue(reader: KvReader, time: number, from = 0): Promise<boolean> {
  return from <= time && (await firstRow(reader, dueWithin(from, time))) !== undefined;
}

function dueWithin(from: number, time: number): { gte: Uint8Array; lt: Uint8Array } {
  return { gte: dueRowKey(from, NO_STEM), lt: dueRowKey(Math.max(from, time + 1), NO_STEM) };
}

/**
 * The documents that expire while a batch is applied. A document to which a rule applies is recorded under the time at
 * which it is due. At that time, it is examined again, and deleted if its version is still the recorded one. Expiry
 * takes place after a transaction's own operations, so a document is never due in the transaction that writes it.
 */
export class Expiry {
  readonly #rules: ActivePolicies["expire"];
  readonly #queue: RowQueue;
  readonly #keys: KeyStates;
  readonly #states = new Map<string, KeyState>();
  readonly #expired: KvOperation[] = [];
  /** The time before which no document is due. See {@link IndexState}. */
  from: number;

  private constructor(
    rules: ActivePolicies["expire"],
    stored: readonly KvRow[],
    keys: KeyStates,
    from: number,
  ) {
    this.#rules = rules;
    this.#queue = new RowQueue(stored);
    this.#keys = keys;
    this.from = from;
  }

  /**
   * Reads the rows of documents that may be due up to `time` in `transactions` transactions. Collects the keys of as
   * many documents as may be read at once; {@link expire} reads the others.
   */
  static async load(
    rules: ActivePolicies["expire"],
    keys: KeyStates,
    batch: { readonly from: number; readonly time: number; readonly transactions: number },
  ): Promise<Expiry> {
    const { from, time, transactions } = batch;
    const range = { ...dueWithin(from, time), limit: transactions * DUE_PER_TRANSACTION };
    const stored = await allRows(keys.reader, range);
    for (const row of stored) unsealed(...row);
    const expiry = new Expiry(rules, stored, keys, from);
    for (const [key] of stored.slice(0, keysPerRead(keys.largest))) expiry.#stateOf(key);
    return expiry;
  }

  written(key: KeyState, txId: TxId, time: number, document: Uint8Array): void {
    const rule = this.#rules.get(key.bucket.name);
    if (rule === undefined) return;
    this.note(key.rowKey, rule, txId, time, JSON.parse(Buffer.from(document).toString("utf8")) as Json);
  }

  /** Records a document that `revision` wrote at `time`, if the rule applies to it. */
  note(rowKey: Uint8Array, rule: ExpireRule, revision: TxId, time: number, document: Json): void {
    if (!appliesTo(rule, document)) return;
    const due = time + rule.after;
    this.from = Math.min(this.from, due);
    const key = dueRowKey(due, rowKey);
    this.#queue.add(key, encodeNumber(key, revision));
  }

  /**
   * Deletes a bounded number of documents that are due at `time`. Returns undefined if there is nothing to wait for,
   * because all of them were read.
   */
  expire(txId: TxId, time: number): Promise<void> | undefined {
    const steps = this.#expire(txId, time);
    return steps.next().done === true ? undefined : this.#readAndContinue(steps);
  }

  async #readAndContinue(steps: Iterator<void>): Promise<void> {
    do await this.#keys.load();
    while (steps.next().done !== true);
  }

  /** Yields whenever a collected key must be read. */
  *#expire(txId: TxId, time: number): Generator<void, void> {
    let bytes = 0;
    for (let looked = 0; looked < DUE_PER_TRANSACTION && bytes < DUE_BYTES; looked += 1) {
      const row = this.#queue.peek();
      if (row === undefined) return;
      const { number: due } = parseNumberedStem(row[0]);
      if (due > time) return;
      this.#queue.shift();
      this.from = due;
      const key = this.#stateOf(row[0]);
      if (!key.isLoaded) yield;
      if (key.document !== undefined) bytes += headLength(key.document);
      if (!this.#isDue(key, decodeNumber(...row), time)) continue;
      this.#keys.delete(key, txId, time);
      const expired = expiredRowKey(txId, key.rowKey);
      this.#expired.push({ type: "put", key: expired, value: sealed(expired) });
    }
  }

  *rows(): Generator<KvOperation> {
    yield* this.#queue.rows();
    yield* this.#expired;
  }

  /** Returns whether a document is due according to the current rules, which may have changed since it was recorded. */
  #isDue({ bucket, document }: KeyState, revision: TxId, time: number): boolean {
    const rule = this.#rules.get(bucket.name);
    if (rule === undefined || document === undefined || versionValueRevision(document) !== revision)
      return false;
    const json = versionValueJson(withDocument(document));
    return json !== undefined && versionValueTime(document) + rule.after <= time && appliesTo(rule, json);
  }

  #stateOf(dueKey: Uint8Array): KeyState {
    const { stem } = parseNumberedStem(dueKey);
    return madeOnce(this.#states, stem.toString("latin1"), () => {
      const { bucket, namespace, name } = parseStem(stem);
      return this.#keys.collectKey(bucket, `${namespace}/${name}`);
    });
  }
}

/**
 * The maximum number of documents that a transaction examines in a bucket with a new rule. It is part of the index
 * version.
 */
const SCANNED_PER_TRANSACTION = 200;

/** The point up to which a bucket was scanned; undefined if it was scanned to its end. */
export interface Scanned {
  readonly after: string | undefined;
}

/**
 * Reads the next documents of a bucket, as they were before a transaction, to apply a rule that is newer than they are.
 */
export async function readScan(
  reader: KvReader,
  { bucket, after }: StatePolicies["scan"][number],
  rules: ActivePolicies["expire"],
  expiry: Expiry,
  touched: readonly (KeyState | undefined)[],
): Promise<Scanned> {
  const rule = rules.get(bucket);
  if (rule === undefined) return { after: undefined };
  const prefix = documentRowPrefix(bucket);
  const begin = after === "" ? { gte: prefix } : { gt: Buffer.from(after, "hex") };
  // The transaction's own writes are already recorded or removed.
  const written = new Set(
    touched.flatMap((key) => (key?.changed === true ? key.rowKey.toString("hex") : [])),
  );
  let last: Uint8Array | undefined;
  let count = 0;
  for await (const rows of reader.range({
    ...begin,
    lt: prefixEnd(prefix),
    limit: SCANNED_PER_TRANSACTION,
  })) {
    for (const [rowKey, bytes] of rows) {
      count += 1;
      last = rowKey;
      const value = checkedVersion(rowKey, bytes);
      const document = versionValueJson(value);
      if (document === undefined || written.has(Buffer.from(rowKey).toString("hex"))) continue;
      expiry.note(rowKey, rule, versionValueRevision(value), versionValueTime(value), document);
    }
  }
  if (count < SCANNED_PER_TRANSACTION || last === undefined) return { after: undefined };
  return { after: Buffer.from(last).toString("hex") };
}
