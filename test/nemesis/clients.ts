import { setTimeout as delay } from "node:timers/promises";
import { type Picks, seededPicks } from "../support/seeded-random.ts";
import { Answered, askNode, NOT_SENT } from "./ask-node.ts";
import {
  BUCKET,
  FIELD,
  listedText,
  type Observation,
  type ReadObservation,
  type WriteAnswer,
} from "./observation.ts";

const KEYS = 24;
const STATES = ["on", "off", "done"] as const;
/** Pauses between what one client does: a machine of two cores has other work as well. */
const PAUSE_MS = 25;
/** A client that goes away in the middle does so within it. */
const CUT_WITHIN_MS = 60;
const PATIENCE_MS = 8_000;

/** The last transaction that any client wrote or saw, at any node: they tell one another. */
export interface KnownTransaction {
  last: number;
}

/** A client that writes and reads through any node, one request after the other, and notes what it was answered. */
export class NemesisClient {
  readonly seen: Observation[] = [];
  /** What was not answered, by why. */
  readonly refused = new Map<string, number>();
  readonly #id: number;
  readonly #picks: Picks;
  readonly #urls: () => readonly string[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  /** What each node showed this client already; it never goes back behind that. */
  readonly #shown = new Map<number, number>();
  readonly #known: KnownTransaction;
  #count = 0;
  /** There was nobody to send the last request to. */
  #wasUnsent = false;

  constructor(id: number, seed: number, urls: () => readonly string[], known: KnownTransaction) {
    this.#id = id;
    this.#known = known;
    this.#picks = seededPicks(seed * 1_000 + id);
    this.#urls = urls;
    this.#running = this.#run();
    this.#running.catch(() => {});
  }

  async finish(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (this.#picks.next() < 0.5) await this.#write();
      // At once after a write as well: a node may not have it yet.
      if (this.#picks.next() < 0.6) await this.#read();
      await delay(PAUSE_MS * 2 * this.#picks.next());
    }
  }

  async #write(): Promise<void> {
    this.#count += 1;
    const key = this.#key();
    const document = { [FIELD]: this.#picks.of(STATES), by: `${this.#id}.${this.#count}` };
    const value = JSON.stringify(document);
    const kind = this.#picks.next();
    if (kind < 0.25) return this.#noteWrite(value, undefined, await this.#put(key, value, {}));
    if (kind < 0.45) {
      const revision = (await this.#get(key))?.revision;
      const condition = revision === undefined ? { "if-none-match": "*" } : { "if-match": `"${revision}"` };
      return this.#noteWrite(value, undefined, await this.#put(key, value, condition));
    }
    const id = `id-${this.#id}-${this.#count}`;
    const ops: unknown[] = [["put", BUCKET, key, document]];
    const other = this.#key();
    if (kind < 0.7 && other !== key)
      ops.push(
        this.#picks.next() < 0.6
          ? ["delete", BUCKET, other]
          : ["put", BUCKET, other, { ...document, second: true }],
      );
    if (kind > 0.85) ops.unshift(["match", BUCKET, key, (await this.#get(key))?.revision ?? null]);
    let answer = await this.#submit(JSON.stringify({ ops, id }));
    // With an id a transaction can be sent again, through any node, whatever became of it.
    const again = answer.kind === "unknown" || answer.kind === "unsent" ? 0.7 : 0.1;
    for (let tries = 0; tries < 3 && this.#picks.next() < again; tries += 1) {
      this.#noteWrite(value, id, answer);
      answer = await this.#submit(JSON.stringify({ ops, id }));
    }
    this.#noteWrite(value, id, answer);
  }

  #noteWrite(value: string, id: string | undefined, answer: WriteAnswer): void {
    if (answer.kind === "unsent") return;
    this.seen.push({ kind: "write", client: this.#id, value, answer, ...(id === undefined ? {} : { id }) });
  }

  async #put(key: string, body: string, headers: Record<string, string>): Promise<WriteAnswer> {
    const path = `/api/v1/${BUCKET}?key=${encodeURIComponent(key)}`;
    const found = await this.#ask(this.#node(), path, { method: "PUT", body, headers });
    if (found?.status === 412) return { kind: "conflict" };
    return this.#written(found, true);
  }

  async #submit(body: string): Promise<WriteAnswer> {
    const waits = this.#picks.next() < 0.6;
    const path = `/api/v1/tx${waits ? "?await=true" : ""}`;
    return this.#written(await this.#ask(this.#node(), path, { method: "POST", body }), waits);
  }

  /** An error that names a transaction says that it is stored. */
  #written(answer: Answered | undefined, waits: boolean): WriteAnswer {
    const { txId, committed = true } = (answer?.body ?? {}) as { txId?: number; committed?: boolean };
    if (answer === undefined) return { kind: this.#wasUnsent ? "unsent" : "unknown" };
    if (txId === undefined) return { kind: "unknown" };
    this.#known.last = Math.max(this.#known.last, txId);
    if (!answer.ok || !waits) return { kind: "stored", txId };
    this.#show(answer.node, txId);
    return { kind: "outcome", txId, committed };
  }

  async #read(): Promise<void> {
    const kind = this.#picks.next();
    if (kind < 0.5) await this.#get(this.#key());
    else if (kind < 0.65) await this.#history(this.#key());
    else if (kind < 0.8) await this.#past(this.#key());
    else await this.#list();
  }

  async #get(key: string): Promise<{ revision: number } | null | undefined> {
    const { found, least } = await this.#seek(`/api/v1/${BUCKET}?key=${encodeURIComponent(key)}`);
    if (found === undefined) return undefined;
    const version = found.version();
    this.#noteRead(found, least, { of: "get", key, found: version });
    this.#show(found.node, version?.revision ?? 0);
    return version;
  }

  async #past(key: string): Promise<void> {
    if (this.#known.last === 0) return;
    const txId = Math.max(1, this.#known.last - this.#picks.below(200));
    const path = `/api/v1/${BUCKET}?key=${encodeURIComponent(key)}&as-of=${txId}&min-tx=${txId}`;
    const found = await this.#ask(this.#node(), path);
    if (found === undefined || !found.isRead) return;
    this.#noteRead(found, txId, { of: "as-of", key, txId, found: found.version() });
  }

  async #history(key: string): Promise<void> {
    const path = `/api/v1/${BUCKET}?key=${encodeURIComponent(key)}&history=true&limit=1000`;
    const { found, least } = await this.#seek(path);
    // A longer one has more pages, each of which may be of another transaction.
    if (found === undefined || found.hasMore) return;
    const versions = found.status === 404 ? [] : (found.body as { revision: number; document?: unknown }[]);
    const shown = versions.map(({ revision, document }) => {
      return { revision, json: document === undefined ? undefined : JSON.stringify(document) };
    });
    this.#noteRead(found, least, { of: "history", key, versions: shown });
  }

  async #list(): Promise<void> {
    const where = this.#picks.next() < 0.5 ? this.#picks.of(STATES) : undefined;
    const query = where === undefined ? "" : `&where=${FIELD}:${where}`;
    const { found, least } = await this.#seek(`/api/v1/${BUCKET}?limit=1000${query}`);
    if (found === undefined || found.txId === undefined) return;
    const documents = (found.body as ListedDocument[]).map(({ namespace, name, revision, document }) =>
      listedText(`${namespace}/${name}`, { revision, json: JSON.stringify(document) }),
    );
    const read = { of: "list", txId: found.txId, documents } as const;
    this.#noteRead(found, least, where === undefined ? read : { ...read, where });
    this.#show(found.node, found.txId);
  }

  /**
   * Two thirds of the reads have to show whatever any client was told, because they say so or because they are linearizable. The others get
   * what the node has, which never goes back.
   */
  async #seek(path: string): Promise<{ found: Answered | undefined; least: number }> {
    const node = this.#node();
    const { last } = this.#known;
    const asked = last === 0 ? "" : this.#picks.of(["", `&min-tx=${last}`, "&linearizable=true"]);
    const least = Math.max(this.#shown.get(node) ?? 0, asked === "" ? 0 : last);
    const found = await this.#ask(node, `${path}${asked}`);
    return { found: found?.isRead === true ? found : undefined, least };
  }

  #noteRead(found: Answered, least: number, read: ReadObservation["read"]): void {
    const { node, receivedAt } = found;
    this.seen.push({ kind: "read", client: this.#id, node, least, receivedAt, read });
  }

  #show(node: number, txId: number): void {
    this.#shown.set(node, Math.max(this.#shown.get(node) ?? 0, txId));
    this.#known.last = Math.max(this.#known.last, txId);
  }

  #node(): number {
    return this.#picks.below(this.#urls().length);
  }

  #key(): string {
    return `default/k${this.#picks.below(KEYS)}`;
  }

  async #ask(node: number, path: string, init: RequestInit = {}): Promise<Answered | undefined> {
    const cuts = this.#picks.next() < 0.05;
    const signal = AbortSignal.timeout(cuts ? 1 + this.#picks.below(CUT_WITHIN_MS) : PATIENCE_MS);
    const found = await askNode(node, `${this.#urls()[node] ?? ""}${path}`, { ...init, signal });
    if (found instanceof Answered && (found.ok || [404, 412].includes(found.status))) return found;
    this.#wasUnsent = found === NOT_SENT;
    const why = found instanceof Answered ? `${found.status} ${found.code}` : found;
    this.refused.set(why, (this.refused.get(why) ?? 0) + 1);
    return found instanceof Answered ? found : undefined;
  }
}

interface ListedDocument {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly document: unknown;
}
