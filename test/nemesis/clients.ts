import { setTimeout as delay } from "node:timers/promises";
import { type Picks, seededPicks } from "@cairn/test-support/seeded-random";
import { NodeResponse, askNode, NOT_SENT } from "./ask-node.ts";
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
/** The mean pause (ms) between a client's requests, which leaves a machine with two cores time for other work. */
const PAUSE_MS = 25;
/** The time (ms) within which clients abort a request, if they do. */
const ABORT_WITHIN_MS = 60;
const TIMEOUT_MS = 8_000;

/** The last transaction that any client wrote or saw at any node. All clients share it. */
export interface KnownTransaction {
  last: number;
}

/** A client that writes and reads through random nodes, one request after another, and records the responses. */
export class NemesisClient {
  readonly seen: Observation[] = [];
  /** The number of requests without a successful response, by reason. */
  readonly refused = new Map<string, number>();
  readonly #id: number;
  readonly #picks: Picks;
  readonly #urls: () => readonly string[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  /** The last transaction that each node has shown to this client. A node never shows an earlier state afterwards. */
  readonly #shown = new Map<number, number>();
  readonly #known: KnownTransaction;
  #count = 0;
  /** Whether the last request reached no process. */
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
      // Reads also follow writes immediately, when nodes may not have applied the writes yet.
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
    if (kind < 0.25) return this.#recordWrite(value, undefined, await this.#put(key, value, {}));
    if (kind < 0.45) {
      const revision = (await this.#get(key))?.revision;
      const condition = revision === undefined ? { "if-none-match": "*" } : { "if-match": `"${revision}"` };
      return this.#recordWrite(value, undefined, await this.#put(key, value, condition));
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
    // A transaction with an id can be sent again through any node, whatever its outcome.
    const again = answer.kind === "unknown" || answer.kind === "unsent" ? 0.7 : 0.1;
    for (let tries = 0; tries < 3 && this.#picks.next() < again; tries += 1) {
      this.#recordWrite(value, id, answer);
      answer = await this.#submit(JSON.stringify({ ops, id }));
    }
    this.#recordWrite(value, id, answer);
  }

  #recordWrite(value: string, id: string | undefined, answer: WriteAnswer): void {
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
    const isAwaited = this.#picks.next() < 0.6;
    const path = `/api/v1/tx${isAwaited ? "?await=true" : ""}`;
    return this.#written(await this.#ask(this.#node(), path, { method: "POST", body }), isAwaited);
  }

  /** Interprets the response to a write. An error that names a transaction means that it is stored. */
  #written(answer: NodeResponse | undefined, isAwaited: boolean): WriteAnswer {
    const { txId, committed = true } = (answer?.body ?? {}) as { txId?: number; committed?: boolean };
    if (answer === undefined) return { kind: this.#wasUnsent ? "unsent" : "unknown" };
    if (txId === undefined) return { kind: "unknown" };
    this.#known.last = Math.max(this.#known.last, txId);
    if (!answer.ok || !isAwaited) return { kind: "stored", txId };
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
    const { found, minTxId } = await this.#consistentRead(`/api/v1/${BUCKET}?key=${encodeURIComponent(key)}`);
    if (found === undefined) return undefined;
    const version = found.version();
    this.#recordRead(found, minTxId, { of: "get", key, found: version });
    this.#show(found.node, version?.revision ?? 0);
    return version;
  }

  async #past(key: string): Promise<void> {
    if (this.#known.last === 0) return;
    const txId = Math.max(1, this.#known.last - this.#picks.below(200));
    const path = `/api/v1/${BUCKET}?key=${encodeURIComponent(key)}&as-of=${txId}&min-tx=${txId}`;
    const found = await this.#ask(this.#node(), path);
    if (found === undefined || !found.isRead) return;
    this.#recordRead(found, txId, { of: "as-of", key, txId, found: found.version() });
  }

  async #history(key: string): Promise<void> {
    const path = `/api/v1/${BUCKET}?key=${encodeURIComponent(key)}&history=true&limit=1000`;
    const { found, minTxId } = await this.#consistentRead(path);
    // The pages of a longer history may show different transactions.
    if (found === undefined || found.hasMore) return;
    const versions = found.status === 404 ? [] : (found.body as { revision: number; document?: unknown }[]);
    const shown = versions.map(({ revision, document }) => {
      return { revision, json: document === undefined ? undefined : JSON.stringify(document) };
    });
    this.#recordRead(found, minTxId, { of: "history", key, versions: shown });
  }

  async #list(): Promise<void> {
    const where = this.#picks.next() < 0.5 ? this.#picks.of(STATES) : undefined;
    const query = where === undefined ? "" : `&where=${FIELD}:${where}`;
    const { found, minTxId } = await this.#consistentRead(`/api/v1/${BUCKET}?limit=1000${query}`);
    if (found === undefined || found.txId === undefined) return;
    const documents = (found.body as ListedDocument[]).map(({ namespace, name, revision, document }) =>
      listedText(`${namespace}/${name}`, { revision, json: JSON.stringify(document) }),
    );
    const read = { of: "list", txId: found.txId, documents } as const;
    this.#recordRead(found, minTxId, where === undefined ? read : { ...read, where });
    this.#show(found.node, found.txId);
  }

  /**
   * Two thirds of the reads must show everything that any client has seen, because of `min-tx` or because they are
   * linearizable. The others show the node's state, which never goes backwards.
   */
  async #consistentRead(path: string): Promise<{ found: NodeResponse | undefined; minTxId: number }> {
    const node = this.#node();
    const { last } = this.#known;
    const consistency = last === 0 ? "" : this.#picks.of(["", `&min-tx=${last}`, "&linearizable=true"]);
    const minTxId = Math.max(this.#shown.get(node) ?? 0, consistency === "" ? 0 : last);
    const found = await this.#ask(node, `${path}${consistency}`);
    return { found: found?.isRead === true ? found : undefined, minTxId };
  }

  #recordRead(found: NodeResponse, minTxId: number, read: ReadObservation["read"]): void {
    const { node, receivedAt } = found;
    this.seen.push({ kind: "read", client: this.#id, node, minTxId, receivedAt, read });
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

  async #ask(node: number, path: string, init: RequestInit = {}): Promise<NodeResponse | undefined> {
    const isAborted = this.#picks.next() < 0.05;
    const signal = AbortSignal.timeout(isAborted ? 1 + this.#picks.below(ABORT_WITHIN_MS) : TIMEOUT_MS);
    const found = await askNode(node, `${this.#urls()[node] ?? ""}${path}`, { ...init, signal });
    if (found instanceof NodeResponse && (found.ok || [404, 412].includes(found.status))) return found;
    this.#wasUnsent = found === NOT_SENT;
    const why = found instanceof NodeResponse ? `${found.status} ${found.code}` : found;
    this.refused.set(why, (this.refused.get(why) ?? 0) + 1);
    return found instanceof NodeResponse ? found : undefined;
  }
}

interface ListedDocument {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly document: unknown;
}
