import type { EventRecord, Json, Transaction, TxOperation } from "@cairn/client";
import { compareKeys, type ModelVersion } from "./model-version.ts";
import { PoliciesModel } from "./policies-model.ts";

/**
 * The index as a pure fold in plain maps. It shows the content that the index must have after any prefix of a log,
 * independently of its row format. Message 1 is the birth record, so the first transaction is 2.
 */
export class IndexModel {
  txId = 1;
  time = 0;
  readonly outcomes = new Map<number, boolean>();
  readonly policies = new PoliciesModel();
  /** The events, ordered by time and then by the order in which they were recorded. */
  events: { readonly time: bigint; readonly txId: number; readonly event: EventRecord }[] = [];
  readonly #keys = new Map<string, ModelVersion[]>();
  readonly #ids = new Map<string, { txId: number; content: string }>();
  readonly #remembered: number;

  /** `remembered` is the number of transactions for which an idempotency id is remembered. */
  constructor(remembered = 1_000_000) {
    this.#remembered = remembered;
  }

  apply(transaction: Transaction, time: number): void {
    this.txId += 1;
    this.time = Math.max(this.time, time);
    const written = new Set<string>();
    const { policies } = this;
    policies.begin();
    this.outcomes.set(this.txId, this.#committed(transaction, written));
    for (const id of policies.takeDue(this.time, (key) => this.#keys.get(key)?.at(-1))) {
      const head = { revision: this.txId, time: this.time };
      this.#keys.set(id, [...(this.#keys.get(id) ?? []), { ...head, document: undefined }]);
    }
    policies.scan([...this.#keys].filter(([id]) => !written.has(id)));
    policies.end();
  }

  /** Returns current documents of a bucket as `[namespace/name, document]`, in key order. */
  list(bucket: string, asOf = this.txId): [string, Json][] {
    const found: [string, Json][] = [];
    for (const [id, versions] of this.#keys) {
      if (!id.startsWith(`${bucket} `)) continue;
      const document = versions.findLast(({ revision }) => revision <= asOf)?.document;
      if (document !== undefined) found.push([id.slice(bucket.length + 1), document]);
    }
    return found.toSorted(([a], [b]) => compareKeys(a, b));
  }

  /** Returns a key's versions, newest first. */
  history(bucket: string, key: string): { revision: number; document: Json | undefined }[] {
    const versions = this.#keys.get(`${bucket} ${key}`) ?? [];
    return versions.map(({ revision, document }) => ({ revision, document })).toReversed();
  }

  /** The versions of every key, oldest first, by `bucket namespace/name`, without evicted ones. */
  get keys(): ReadonlyMap<string, readonly ModelVersion[]> {
    return this.#keys;
  }

  get documents(): number {
    return [...this.#keys.values()].filter((versions) => versions.at(-1)?.document !== undefined).length;
  }

  #committed(transaction: Transaction, written: Set<string>): boolean {
    const { id, ops } = transaction;
    const content = JSON.stringify(ops);
    const known = id === undefined ? undefined : this.#ids.get(id);
    if (known !== undefined && known.txId >= this.txId - this.#remembered) {
      return known.content === content && this.outcomes.get(known.txId) === true;
    }
    if (id !== undefined) this.#ids.set(id, { txId: this.txId, content });
    for (const op of ops) {
      if (op[0] === "match" && this.#revision(op[1], op[2]) !== op[3]) return false;
    }
    for (const op of ops) {
      if (op[0] === "configure" && op.length === 3 && this.policies.revision !== op[2]) return false;
    }
    const events: EventRecord[] = [];
    for (const op of ops) {
      if (op[0] === "event") events.push(op[1]);
      else if (op[0] === "configure") this.policies.set(op[1], this.txId);
      else if (op[0] !== "match") this.#write(op, written);
    }
    this.#record(events);
    return true;
  }

  #record(events: readonly EventRecord[]): void {
    if (events.length === 0) return;
    for (const event of events) {
      const time = event.time === undefined ? BigInt(this.time) * 1_000_000n : BigInt(event.time);
      this.events.push({ time, txId: this.txId, event });
    }
    // This sort is stable.
    const sorted = this.events.toSorted((a, b) => Number(a.time - b.time));
    this.events = this.policies.boundEvents(sorted, this.time);
  }

  #write(
    op: Exclude<TxOperation, readonly ["match" | "event" | "configure", ...unknown[]]>,
    written: Set<string>,
  ): void {
    const id = `${op[1]} ${op[2]}`;
    const versions = this.#keys.get(id) ?? [];
    const exists = versions.at(-1)?.document !== undefined;
    const head = { revision: this.txId, time: this.time };
    if (op[0] === "put" || exists || (op[0] === "evict" && versions.length > 0)) written.add(id);
    if (op[0] === "evict") this.#keys.delete(id);
    else if (op[0] === "put") {
      const version = { ...head, document: op[3] };
      this.#keys.set(id, [...versions, version]);
      this.policies.note(id, version);
    } else if (exists) this.#keys.set(id, [...versions, { ...head, document: undefined }]);
  }

  #revision(bucket: string, key: string): number | null {
    const last = this.#keys.get(`${bucket} ${key}`)?.at(-1);
    return last?.document === undefined ? null : last.revision;
  }
}
