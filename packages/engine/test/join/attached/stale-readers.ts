import { once, EventEmitter } from "node:events";
import type { Json, TxId } from "@cairn/client";
import type { Chance } from "../../faults/odd-values.ts";
import type { AnswerText, IndexStates, Listed, Read, Version } from "./index-states.ts";

const READERS = 6;
const LIMIT = 7;

/** What readers were told in a round. */
export interface Told {
  /** The answers with what was asked for, or that it does not exist. */
  readonly answered: number;
  /** Those of them that came while the index was being restored. */
  readonly attached: number;
  /** Answers 503 to requests that were sent after one that was answered. */
  readonly lapsed: number;
  readonly refused: number;
  /** What was wrong. */
  readonly wrong: readonly string[];
}

interface Page {
  readonly answer: AnswerText;
  readonly txId: TxId | undefined;
  readonly next: string | undefined;
  /** Where the next page continues. */
  readonly after: string | number | undefined;
}

export interface ReadersParts {
  readonly url: string;
  readonly states: IndexStates;
  readonly chance: Chance;
  readonly isRestoring: () => boolean;
}

/**
 * Readers that ask a node for everything that it can be asked while it joins, without pause, and compare every answer
 * with those of the states that the node may have: none may be older than what any of them received before they asked.
 */
export class StaleReaders {
  readonly #parts: ReadersParts;
  readonly #told = { answered: 0, attached: 0, lapsed: 0, refused: 0, wrong: [] as string[] };
  readonly #answers = new EventEmitter({ captureRejections: false }).setMaxListeners(0);
  readonly #running: Promise<unknown>;
  #isEnding = false;
  /** The newest state that an answer has shown. */
  #seen: TxId = 2;

  constructor(parts: ReadersParts) {
    this.#parts = parts;
    this.#running = Promise.all(
      Array.from({ length: READERS }, async (_, reader) => await this.#run(reader)),
    );
  }

  get told(): Told {
    return this.#told;
  }

  /** Resolves after `count` more answers of any kind, or at the end. */
  async more(count: number): Promise<void> {
    for (let left = count; left > 0 && !this.#isEnding; left -= 1) await once(this.#answers, "answer");
  }

  /** Resolves once a read was answered, or `most` were refused. */
  async firstAnswered(most: number): Promise<void> {
    while (this.#told.answered === 0 && this.#told.refused < most && !this.#isEnding) await this.more(1);
  }

  /** Resolves once all readers have ended. */
  async end(): Promise<Told> {
    this.#isEnding = true;
    this.#answers.emit("answer");
    await this.#running;
    return this.#told;
  }

  async #run(reader: number): Promise<void> {
    while (!this.#isEnding) {
      const read = this.#choose(reader);
      // A list is read to its end, and begun anew if a page is refused.
      let page = await this.#page(read, this.#addressOf(read));
      let rest = { ...read, ...(page?.txId === undefined ? {} : { asOf: page.txId }) };
      while (page?.next !== undefined && page.after !== undefined && !this.#isEnding) {
        rest = { ...rest, after: page.after };
        page = await this.#page(rest, page.next);
      }
    }
  }

  /** The first reader asks only for what no request waits for. */
  #choose(reader: number): Read {
    const { chance, states } = this.#parts;
    const [first = "", ...others] = states.buckets;
    const bucket = chance.pick([first, ...others]);
    const keys = states.keys(bucket);
    const key = chance.next() < 0.1 ? "default/absent" : (keys[chance.below(keys.length)] ?? "");
    const read = { bucket, key, limit: 1 + chance.below(LIMIT) };
    const what = reader === 0 ? 0 : chance.next();
    const asOf = 2 + chance.below(this.#seen - 1);
    if (what < 0.5) return { ...read, of: "document" };
    if (what < 0.6) return { ...read, of: "document", asOf };
    if (what < 0.65) return { ...read, of: "document", asOf: states.timeOf(asOf) };
    if (what < 0.75) return { ...read, of: "history" };
    if (what < 0.85) return { ...read, key: "", of: "list" };
    if (what < 0.9) return { ...read, key: "", of: "list", asOf };
    if (what < 0.95) return { ...read, key: "", of: "list", where: chance.pick(["on", "off", "done"]) };
    return { ...read, key: "", of: "buckets" };
  }

  #addressOf({ of, bucket, key, asOf, where, limit }: Read): string {
    const query = new URLSearchParams({ stale: "true" });
    if (of === "buckets") return `/api/v1/buckets?${query.toString()}`;
    if (key !== "") query.set("key", key);
    if (of === "history") query.set("history", "true");
    if (of !== "document") query.set("limit", String(limit));
    if (asOf !== undefined) query.set("as-of", String(asOf));
    if (where !== undefined) query.set("where", `state:${where}`);
    return `/api/v1/${bucket}?${query.toString()}`;
  }

  /** Asks, and compares the answer. Undefined if it was refused. */
  async #page(read: Read, address: string): Promise<Page | undefined> {
    const { url, isRestoring } = this.#parts;
    const { answered } = this.#told;
    const seen = this.#seen;
    let [status, headers, text] = [0, new Headers(), ""];
    try {
      const response = await fetch(url + address);
      [status, headers, text] = [response.status, response.headers, await response.text()];
    } catch (error) {
      this.#wrong(read, `no answer: ${String(error)}`);
    }
    try {
      if (status === 503 && headers.has("retry-after")) {
        this.#told.refused += 1;
        if (answered > 0) this.#told.lapsed += 1;
        return undefined;
      }
      if (status !== 200 && status !== 404) {
        if (status > 0) this.#wrong(read, `${status} ${text}`);
        return undefined;
      }
      this.#told.answered += 1;
      if (isRestoring()) this.#told.attached += 1;
      const page = pageOf(read, headers, status === 404 ? undefined : (JSON.parse(text) as unknown));
      this.#compare(read, page, seen);
      return page;
    } finally {
      this.#answers.emit("answer");
    }
  }

  #compare(read: Read, { answer, txId }: Page, seen: TxId): void {
    const { states } = this.#parts;
    // Only the first page of a list names its state. A list as of a transaction is the same in later ones, except for
    // what was evicted.
    const isNamed = txId !== undefined && read.asOf === undefined;
    const state = isNamed
      ? states.answer(read, txId) === answer && txId >= seen
        ? txId
        : undefined
      : states.earliest(read, answer, seen);
    if (state !== undefined) this.#seen = Math.max(this.#seen, state);
    else this.#wrong(read, `of ${txId ?? "a state"}, after ${seen} was seen: ${answer.slice(0, 300)}`);
  }

  #wrong(read: Read, why: string): void {
    this.#told.wrong.push(`${JSON.stringify(read)}: ${why}`);
  }
}

interface ListedDocument {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly document: Json;
}

interface ListedVersion {
  readonly revision: number;
  readonly deleted: boolean;
  readonly document: Json;
}

function pageOf({ of }: Read, headers: Headers, body: unknown): Page {
  const tx = headers.get("cairn-tx");
  const txId = tx === null ? undefined : Number(tx);
  const next = /<([^>]+)>; rel="next"/.exec(headers.get("link") ?? "")?.[1];
  if (of === "document") {
    const revision = Number(/\d+/.exec(headers.get("etag") ?? "")?.[0]);
    const answer = JSON.stringify(body === undefined ? null : [revision, body]);
    return { answer, txId: undefined, next, after: undefined };
  }
  if (of === "history") {
    const versions = ((body ?? []) as ListedVersion[]).map(({ revision, deleted, document }): Version =>
      deleted ? [revision] : [revision, document],
    );
    return { answer: JSON.stringify(versions), txId: undefined, next, after: versions.at(-1)?.[0] };
  }
  if (of === "buckets") {
    const counts = (body as { name: string; documents: number }[]).map((one) => [one.name, one.documents]);
    return { answer: JSON.stringify(counts), txId, next, after: undefined };
  }
  const listed = (body as ListedDocument[]).map(({ namespace, name, revision, document }): Listed => [
    `${namespace}/${name}`,
    revision,
    document,
  ]);
  return { answer: JSON.stringify(listed), txId, next, after: listed.at(-1)?.[0] };
}
