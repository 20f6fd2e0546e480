import type { KvOperation } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { LoggedOperation } from "../../transactions/transaction-codec.ts";
import { type IndexedMessage, lastTime, scans } from "./batches.ts";
import { EventRows } from "./event-rows.ts";
import { FieldChanges } from "../fields/field-changes.ts";
import { fieldWorkRows, begunFields, type FieldBuilds } from "../fields/field-builds.ts";
import { untilSweep, type Swept, sweepHistory, type SweepingTransaction } from "./history-sweep.ts";
import { type SweptOutcomes, sweepOutcomes } from "./outcome-sweep.ts";
import type { IndexState, StatePolicies } from "../rows/index-state.ts";
import type { KeyState, KeyStates } from "./key-states.ts";
import {
  type ActivePolicies,
  activePolicies,
  boundsHistory,
  configured,
} from "../policies/active-policies.ts";
import { Expiry, readScan, type Scanned } from "./expiry.ts";
import { parseDocumentRowKey } from "../rows/row-keys.ts";
import { withDocument } from "../rows/version-values.ts";
import { documentTexts, fieldTexts } from "../fields/field-texts.ts";

/** The parts of a batch other than its own documents: events, and the effects of policies. */
export class BatchPolicies {
  readonly #before: IndexState;
  readonly #active: ActivePolicies;
  readonly #keys: KeyStates;
  readonly #fields = new FieldChanges();
  // Each of these is undefined if the batch does not need it.
  #events: EventRows | undefined;
  #expiry: Expiry | undefined;
  #swept: Swept | undefined;
  #sweptOutcomes: SweptOutcomes | undefined;
  /** The transaction to which the batch's sweep belongs; undefined if the batch does not sweep. */
  #sweeping: SweepingTransaction | undefined;
  #scanned: Scanned | undefined;
  /** The policies after the batch. `#active` contains those in force throughout the batch. */
  #policies: StatePolicies | undefined;
  readonly #tombstones: KeyState[] = [];
  /** The latest revision of a tombstone that the sweep removed. */
  #dropped: TxId = 0;

  private constructor(before: IndexState, keys: KeyStates) {
    this.#before = before;
    this.#active = activePolicies(before);
    this.#keys = keys;
    this.#policies = before.policies;
  }

  /** Undefined if there are neither policies nor events. Collects keys, which the caller must load. */
  static async load(
    messages: readonly IndexedMessage[],
    before: IndexState,
    keys: KeyStates,
  ): Promise<BatchPolicies | undefined> {
    const extras = countExtras(messages);
    if (before.policies === undefined && extras === undefined) return undefined;
    const batch = new BatchPolicies(before, keys);
    const time = lastTime(messages, before);
    if (extras !== undefined && extras.events > 0) {
      const stored = { count: before.events ?? 0, from: before.eventsFrom ?? 0 };
      const counts = { time, recorded: extras.events, transactions: extras.transactions };
      batch.#events = await EventRows.load(batch.#active.events, keys.reader, stored, counts);
    }
    const { expire, history, outcomes } = batch.#active;
    if (expire.size > 0) {
      batch.#expiry = await Expiry.load(expire, keys, {
        from: before.dueFrom ?? 0,
        time,
        transactions: messages.length,
      });
    }
    const txId = before.txId + 1;
    const [first] = messages;
    const isBounded = history.size > 0 || outcomes !== undefined;
    if (isBounded && untilSweep(txId) === 0 && first !== undefined) {
      const { superseded = 0 } = before;
      batch.#sweeping = { txId, time: lastTime([first], before), superseded };
    }
    return batch;
  }

  /** The batch's keys may be loaded at the same time. `remembered` is as in {@link sweepOutcomes}. */
  async sweep(remembered: number): Promise<void> {
    if (this.#sweeping === undefined) return;
    const { history, outcomes } = this.#active;
    const { outcomesAfter = 0 } = this.#before;
    if (history.size > 0)
      this.#swept = await sweepHistory(this.#keys.reader, history, this.#before, this.#sweeping);
    if (outcomes === undefined) return;
    this.#sweptOutcomes = await sweepOutcomes(
      this.#keys.reader,
      outcomes,
      outcomesAfter,
      this.#sweeping,
      remembered,
    );
  }

  /** Collects the keys and buckets that the sweep changes. The caller must load them. */
  collectSwept(): void {
    if (this.#swept === undefined) return;
    for (const rowKey of this.#swept.tombstones) {
      const { bucket, namespace, name } = parseDocumentRowKey(rowKey);
      this.#tombstones.push(this.#keys.collectKey(bucket, `${namespace}/${name}`));
    }
    for (const bucket of this.#swept.floors.keys()) this.#keys.collectBucket(bucket);
  }

  /** Prepares the rows of indexed fields that can be made before anything is read. */
  async prepare(
    messages: readonly IndexedMessage[],
    touched: readonly (readonly (KeyState | undefined)[])[],
    builds: FieldBuilds,
  ): Promise<void> {
    const indexed = begunFields(this.#active.indexed, builds);
    if (indexed.size === 0) return;
    for (const [at, { decoded }] of messages.entries()) {
      if (decoded.kind === "transaction")
        makeRowsAhead(this.#fields, decoded.ops, touched[at] ?? [], indexed);
    }
  }

  conflict(ops: readonly LoggedOperation[]): string | undefined {
    const revision = this.#before.policies?.revision ?? null;
    const expected = ops.find(({ op }) => op === "configure")?.revision;
    if (expected === undefined || expected === revision) return undefined;
    return `the policies are ${revision === null ? "not set" : `at revision ${revision}`}`;
  }

  written(key: KeyState, txId: TxId, time: number, document: Uint8Array): void {
    this.#expiry?.written(key, txId, time, document);
  }

  take(ops: readonly LoggedOperation[], txId: TxId, time: number): void {
    const events: Uint8Array[] = [];
    for (const { op, document } of ops) {
      if (document === undefined) continue;
      if (op === "event") events.push(document);
      else if (op === "configure") this.#policies = configured(this.#before.policies, document, txId);
    }
    if (events.length > 0) this.#events?.record(txId, time, events);
  }

  /**
   * Applies the effects of policies that follow every transaction, regardless of its outcome. Returns undefined if
   * there is nothing to wait for.
   */
  after(txId: TxId, time: number, touched: readonly (KeyState | undefined)[]): Promise<void> | undefined {
    const expiring = this.#expiry?.expire(txId, time);
    return expiring === undefined
      ? this.#afterExpiry(txId, touched)
      : expiring.then(() => this.#afterExpiry(txId, touched));
  }

  #afterExpiry(txId: TxId, touched: readonly (KeyState | undefined)[]): Promise<void> | undefined {
    // A sweep belongs to the first transaction of its batch.
    if (this.#swept !== undefined && txId === this.#before.txId + 1) this.#clean(this.#swept, touched);
    const [scan] = scans(this.#before);
    return scan === undefined ? undefined : this.#scan(scan, touched);
  }

  async #scan(
    scan: StatePolicies["scan"][number],
    touched: readonly (KeyState | undefined)[],
  ): Promise<void> {
    if (this.#expiry === undefined) return;
    this.#scanned = await readScan(this.#keys.reader, scan, this.#active.expire, this.#expiry, touched);
  }

  #clean({ floors }: Swept, touched: readonly (KeyState | undefined)[]): void {
    for (const [name, floor] of floors) this.#keys.raiseFloor(this.#keys.collectBucket(name), floor);
    for (const key of this.#tombstones) {
      if (touched.includes(key)) continue;
      this.#dropped = Math.max(this.#dropped, this.#keys.dropTombstone(key));
    }
  }

  state(): Partial<IndexState> {
    const before = this.#before;
    const swept = this.#swept;
    const isCleaned = swept !== undefined && swept.versions.length + swept.tombstones.length > 0;
    return {
      policies: this.#stillScanned(this.#policies),
      events: this.#events?.count ?? before.events,
      eventsFrom: this.#events?.from ?? before.eventsFrom,
      dueFrom: this.#expiry?.from ?? before.dueFrom,
      superseded:
        this.#active.history.size === 0
          ? undefined
          : (swept === undefined ? (before.superseded ?? 0) : 0) +
            this.#keys.superseded((bucket) => boundsHistory(this.#active, bucket)),
      sweep: swept === undefined ? before.sweep : swept.cursor,
      cleaned: isCleaned ? before.txId + 1 : before.cleaned,
      pruned: Math.max(before.pruned ?? 0, swept?.pruned ?? 0, this.#dropped) || undefined,
      outcomesAfter: (this.#sweptOutcomes?.upTo ?? before.outcomesAfter) || undefined,
    };
  }

  /**
   * Removes a bucket from the scans once it has been scanned to its end. A bucket whose rule has changed is scanned
   * from the beginning.
   */
  #stillScanned(policies: StatePolicies | undefined): StatePolicies | undefined {
    const [scan, ...rest] = policies?.scan ?? [];
    if (policies === undefined || scan === undefined || this.#scanned === undefined) return policies;
    const [before] = scans(this.#before);
    if (scan !== before) return policies;
    const { after } = this.#scanned;
    return { ...policies, scan: after === undefined ? rest : [{ ...scan, after }, ...rest] };
  }

  async addRows(rows: KvOperation[], builds: FieldBuilds): Promise<void> {
    for (const key of this.#swept?.versions ?? []) rows.push({ type: "del", key });
    for (const key of this.#sweptOutcomes?.rowKeys ?? []) rows.push({ type: "del", key });
    for (const row of this.#events?.rows() ?? []) rows.push(row);
    for (const row of this.#expiry?.rows() ?? []) rows.push(row);
    const indexed = begunFields(this.#active.indexed, builds);
    if (indexed.size > 0) await this.#addFieldRows(rows, indexed, builds);
    if (this.#policies === this.#before.policies) return;
    for (const row of fieldWorkRows(this.#before.policies?.indexes ?? [], this.#policies?.indexes ?? [])) {
      rows.push(row);
    }
  }

  /** Adds the rows of indexed fields that a batch changes: the difference between the documents before and after it. */
  async #addFieldRows(
    rows: KvOperation[],
    indexed: ActivePolicies["indexed"],
    builds: FieldBuilds,
  ): Promise<void> {
    for (const { bucket, rowKey, before, document, written, ahead } of this.#keys.all) {
      const indexes = before === document ? undefined : indexed.get(bucket.name);
      if (indexes === undefined) continue;
      const old = fieldTexts(before && withDocument(before), indexes);
      // If a batch contains several documents for a key, the last one may belong to an aborted transaction.
      const made = document !== undefined && ahead?.written === written ? ahead?.rows : undefined;
      const now = made === undefined ? fieldTexts(document && withDocument(document), indexes) : undefined;
      for (const [at, index] of indexes.entries()) {
        const built = builds.size === 0 ? undefined : builds.get(index.id);
        if (built !== undefined && Buffer.compare(rowKey, built) > 0) continue;
        const from = old[at];
        const row = made?.[at];
        const to = now === undefined ? row?.value.text : now[at];
        if (from === to) continue;
        if (from !== undefined) this.#fields.remove(index, from, rowKey);
        if (to !== undefined) this.#fields.add(row ?? this.#fields.make(index, to, rowKey));
      }
    }
    await this.#fields.addTo(rows, this.#keys.reader);
  }
}

function countExtras(messages: readonly IndexedMessage[]) {
  let events = 0;
  let transactions = 0;
  let found = false;
  for (const { decoded } of messages) {
    if (decoded.kind !== "transaction" || !decoded.hasContent) continue;
    found = true;
    const recorded = decoded.ops.filter(({ op }) => op === "event").length;
    events += recorded;
    if (recorded > 0) transactions += 1;
  }
  return found ? { events, transactions } : undefined;
}

/** It does not use the store, so the store can be read concurrently. */
function makeRowsAhead(
  changes: FieldChanges,
  ops: readonly LoggedOperation[],
  touched: readonly (KeyState | undefined)[],
  indexed: ActivePolicies["indexed"],
): void {
  for (const [at, { op, document }] of ops.entries()) {
    const key = touched[at];
    const indexes = op === "put" && key !== undefined ? indexed.get(key.bucket.name) : undefined;
    if (key === undefined || document === undefined || indexes === undefined) continue;
    const texts = documentTexts(document, indexes);
    const rows = indexes.map((index, place) => {
      const text = texts[place];
      return text === undefined ? undefined : changes.make(index, text, key.rowKey);
    });
    key.ahead = { written: document, rows };
  }
}
