import type { Transaction } from "@cairn/client";
import { foldedDigest, stemOf } from "../../../testing/log-fold.ts";
import { IndexModel } from "../../index/support/index-model.ts";
import { textOf } from "../../index/support/policies-model.ts";
import { type Answer, type Answers, changeText, evictionText, type Question } from "./question.ts";

/** A transaction that a node acknowledged, with its time in the log. */
export interface Acknowledged {
  readonly txId: number;
  readonly transaction: Transaction;
  readonly time: number;
}

/**
 * The responses that a node must return: a fold of the acknowledged transactions. The fold knows nothing of rows and
 * files.
 */
export class FlipOracle {
  readonly #model = new IndexModel();
  readonly #logId: string;
  readonly #times = new Map<number, number>();
  readonly #evicted: string[] = [];
  readonly #evictions: string[] = [];
  readonly #asked = new Map<string, Set<string>>();
  readonly #ever = new Set<string>();

  constructor(logId: string, acknowledged: readonly Acknowledged[]) {
    this.#logId = logId;
    for (const one of acknowledged) this.add(one);
  }

  get txId(): number {
    return this.#model.txId;
  }

  add({ txId, transaction, time }: Acknowledged): void {
    if (txId !== this.txId + 1) throw new Error(`transaction ${txId} was acknowledged after ${this.txId}`);
    const evicted = transaction.ops.flatMap((op) => {
      if (op[0] !== "put" && op[0] !== "delete" && op[0] !== "match" && op[0] !== "evict") return [];
      this.#asked.set(op[1], (this.#asked.get(op[1]) ?? new Set()).add(op[2]));
      return op[0] === "evict" ? [op] : [];
    });
    this.#model.apply(transaction, time);
    this.#times.set(txId, this.#model.time);
    if (this.#model.outcomes.get(txId) !== true) return;
    for (const op of transaction.ops) {
      if (op[0] === "put") this.#ever.add(changeText(txId, "put", op[1], op[2], op[3]));
      if (op[0] === "event") this.#ever.add(`${txId} ${op[1].object} ${op[1].reason}`);
    }
    for (const [, bucket, key] of evicted) {
      this.#evictions.push(evictionText(txId, bucket, key));
      this.#evicted.push(changeText(txId, "evict", bucket, key, undefined));
    }
  }

  /**
   * Returns every query that the API accepts, about every key and transaction. `below` returns a random whole number
   * below its argument.
   */
  questions(below: (limit: number) => number): Question[] {
    const past = (): number => 2 + below(this.txId - 1);
    const found: Question[] = [{ ask: "buckets" }, { ask: "events" }, { ask: "evictions" }];
    for (const [bucket, keys] of this.#asked) {
      found.push({ ask: "list", bucket }, { ask: "list", bucket, asOf: past() });
      for (const key of keys) {
        found.push({ ask: "get", bucket, key }, { ask: "get", bucket, key, asOf: past() });
        found.push({ ask: "history", bucket, key });
      }
      for (const field of this.#model.policies.value.indexes?.[bucket] ?? []) {
        for (const value of new Set(
          this.#model.list(bucket).map(([, document]) => textOf(document, field)),
        )) {
          if (value !== undefined) found.push({ ask: "list", bucket, where: { field, value } });
        }
      }
    }
    for (const txId of this.#times.keys()) found.push({ ask: "outcome", txId });
    found.push({ ask: "changes", upTo: this.txId });
    for (let last = found.length - 1; last > 0; last -= 1) {
      const other = below(last + 1);
      [found[last], found[other]] = [found[other] as Question, found[last] as Question];
    }
    // The digest comes last, because it reads everything and would therefore find all damage by itself.
    return [...found, { ask: "digest" }];
  }

  /** Returns whether a key ever had this document, even if it has been overwritten or evicted since. */
  everHad(bucket: string, key: string, revision: number, document: unknown): boolean {
    return this.everTold(changeText(revision, "put", bucket, key, document));
  }

  /** Returns whether this change ({@link changeText}) or this event (`txId object reason`) was ever true. */
  everTold(text: string): boolean {
    return this.#ever.has(text) || / delete /.test(text);
  }

  answer(question: Question): Answer {
    switch (question.ask) {
      case "get":
        return this.#get(question.bucket, question.key, question.asOf);
      case "list":
        return this.#list(question);
      case "history":
        return this.versions(question.bucket, question.key);
      case "outcome":
        return {
          committed: this.#model.outcomes.get(question.txId) === true,
          time: this.#times.get(question.txId) ?? 0,
        };
      case "events":
        return this.#model.policies
          .boundEvents(this.#model.events, this.#model.time, "age")
          .toReversed()
          .map(({ time, txId, event }) => [txId, String(time), event.object, event.reason] as const);
      case "evictions":
        return this.#evictions.toSorted();
      case "changes":
        return this.#changes();
      case "buckets":
        return this.#buckets();
      case "digest":
        return this.#digest();
    }
  }

  /** Returns the versions of a key, newest first. */
  versions(bucket: string, key: string): Answers["history"] {
    return this.#model
      .history(bucket, key)
      .map(({ revision, document }) => (document === undefined ? [revision] : [revision, document]));
  }

  #get(bucket: string, key: string, asOf = this.txId): Answers["get"] {
    const version = this.#model.history(bucket, key).find(({ revision }) => revision <= asOf);
    if (version?.document === undefined) return null;
    return { revision: version.revision, document: version.document };
  }

  #list({ bucket, asOf, where }: Extract<Question, { ask: "list" }>): Answers["list"] {
    return this.#model
      .list(bucket, asOf)
      .filter(([, document]) => where === undefined || textOf(document, where.field) === where.value)
      .map(([key, document]) => [key, this.#get(bucket, key, asOf)?.revision ?? 0, document]);
  }

  #changes(): Answers["changes"] {
    const found = [...this.#evicted];
    for (const [id, versions] of this.#model.keys) {
      const [bucket = "", key = ""] = [id.slice(0, id.indexOf(" ")), id.slice(id.indexOf(" ") + 1)];
      for (const { revision, document } of versions) {
        found.push(changeText(revision, document === undefined ? "delete" : "put", bucket, key, document));
      }
    }
    return found.toSorted();
  }

  #buckets(): Answers["buckets"] {
    return [...this.#asked.keys()].toSorted().map((name) => {
      const documents = this.#model.list(name);
      const fields = (this.#model.policies.value.indexes?.[name] ?? []).map((field) => {
        const counts = new Map<string, number>();
        for (const [, document] of documents) {
          const text = textOf(document, field);
          if (text !== undefined) counts.set(text, (counts.get(text) ?? 0) + 1);
        }
        return [field, { counts: Object.fromEntries([...counts].toSorted()), more: false }] as const;
      });
      return { name, documents: documents.length, fields: Object.fromEntries(fields) };
    });
  }

  #digest(): string {
    const keys = [...this.#model.keys].map(([id, versions]) => {
      const stem = stemOf(id.slice(0, id.indexOf(" ")), id.slice(id.indexOf(" ") + 1));
      const folded = versions.map(({ revision, time, document }) => {
        return { revision, time, json: document === undefined ? undefined : JSON.stringify(document) };
      });
      return [stem, folded] as const;
    });
    return foldedDigest(this.#logId, this.txId, new Map(keys));
  }
}
