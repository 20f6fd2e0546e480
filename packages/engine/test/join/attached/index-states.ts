import type { Json, Transaction, TxId } from "@cairn/client";
import { IndexModel } from "../../index/support/index-model.ts";
import { compareKeys, type ModelVersion } from "../../index/support/model-version.ts";
import { textOf } from "../../index/support/policies-model.ts";

/** A transaction that a node acknowledged, with its time in the log. */
export interface Acknowledged {
  readonly txId: TxId;
  readonly transaction: Transaction;
  readonly time: number;
}

/** A read, or a page of one. `asOf` is a transaction or a time in ISO 8601. */
export interface Read {
  readonly of: "document" | "history" | "list" | "buckets";
  readonly bucket: string;
  /** Empty for lists. */
  readonly key: string;
  readonly asOf?: TxId | string;
  /** The state that a list must have for its documents. */
  readonly where?: string;
  readonly limit: number;
  /** The key, or the revision, with which the previous page ended. */
  readonly after?: string | number;
}

/** An answer as a text: equal answers are equal texts. */
export type AnswerText = string;

export type Version = readonly [revision: number, document?: Json];
export type Listed = readonly [key: string, revision: number, document: Json];

/** What an index contains after each transaction of a log: a fold that knows nothing of rows and files. */
export class IndexStates {
  /** The versions of every key, by `bucket namespace/name`, after each transaction. */
  readonly #states = new Map<TxId, ReadonlyMap<string, readonly ModelVersion[]>>();
  readonly #times: number[] = [];
  readonly #model = new IndexModel();
  /** Every key that ever was in a bucket, in order. */
  readonly #keys = new Map<string, readonly string[]>();

  constructor(acknowledged: readonly Acknowledged[]) {
    for (const { txId, transaction, time } of acknowledged) {
      this.#model.apply(transaction, time);
      if (txId !== this.last) throw new Error(`Transaction ${txId} was acknowledged as ${this.last}.`);
      this.#states.set(txId, new Map(this.#model.keys));
      this.#times[txId] = this.#model.time;
    }
    const ids = new Set([...this.#states.values()].flatMap((state) => [...state.keys()]));
    for (const bucket of new Set([...ids].map((id) => id.slice(0, id.indexOf(" "))))) {
      const own = [...ids].filter((id) => id.startsWith(`${bucket} `));
      this.#keys.set(bucket, own.map((id) => id.slice(bucket.length + 1)).toSorted(compareKeys));
    }
  }

  /** The last transaction. */
  get last(): TxId {
    return this.#model.txId;
  }

  get buckets(): string[] {
    return [...this.#keys.keys()].toSorted();
  }

  /** Returns every key that ever was in a bucket. */
  keys(bucket: string): readonly string[] {
    return this.#keys.get(bucket) ?? [];
  }

  timeOf(txId: TxId): string {
    return new Date(this.#times[txId] ?? 0).toISOString();
  }

  /** Returns the earliest state from `from` on of which the answer is right; undefined if there is none. */
  earliest(read: Read, answer: AnswerText, from: TxId): TxId | undefined {
    for (let txId = from; txId <= this.last; txId += 1) {
      if (this.answer(read, txId) === answer) return txId;
    }
    return undefined;
  }

  /** Returns the answer of an index whose last transaction is `txId`. */
  answer(read: Read, txId: TxId): AnswerText {
    switch (read.of) {
      case "document": {
        const found = this.#versions(read, txId).find(([id]) => id <= this.#place(read, txId));
        return JSON.stringify(found?.[1] === undefined ? null : found);
      }
      case "history": {
        const { after = Infinity, limit } = read;
        const rest = this.#versions(read, txId).filter(([revision]) => revision < Number(after));
        return JSON.stringify(rest.slice(0, limit));
      }
      case "list":
        return JSON.stringify(this.#list(read, txId));
      case "buckets": {
        const all = { ...read, of: "list", limit: Infinity } as const;
        const counts = this.buckets.map((bucket) => [bucket, this.#list({ ...all, bucket }, txId).length]);
        return JSON.stringify(counts);
      }
    }
  }

  /** Returns the transaction as of which a read of the state `txId` is. */
  #place({ asOf }: Read, txId: TxId): TxId {
    if (typeof asOf !== "string") return asOf ?? txId;
    const time = Date.parse(asOf);
    const at = this.#times.findLastIndex((one, id) => id <= txId && one <= time);
    return Math.max(at, 0);
  }

  #versions({ bucket, key }: Pick<Read, "bucket" | "key">, txId: TxId): Version[] {
    const versions = this.#states.get(txId)?.get(`${bucket} ${key}`) ?? [];
    return versions
      .map(({ revision, document }): Version => (document === undefined ? [revision] : [revision, document]))
      .toReversed();
  }

  #list(read: Read, txId: TxId): Listed[] {
    const { bucket, where, limit, after } = read;
    const at = this.#place(read, txId);
    const keys = this.keys(bucket);
    const found: Listed[] = [];
    for (const key of keys.slice(after === undefined ? 0 : keys.indexOf(String(after)) + 1)) {
      const [revision, document] = this.#versions({ bucket, key }, txId).find(([id]) => id <= at) ?? NONE;
      if (document === undefined || (where !== undefined && textOf(document, "state") !== where)) continue;
      found.push([key, revision, document]);
      if (found.length === limit) break;
    }
    return found;
  }
}

const NONE: Version = [0];
