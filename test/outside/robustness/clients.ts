import { setTimeout as delay } from "node:timers/promises";
import type { Picks } from "@cairn/test-support/seeded-random";
import { askNode, NodeResponse, NOT_SENT } from "../../nemesis/ask-node.ts";
import {
  bucketOf,
  type FoundDocument,
  NAMESPACES,
  now,
  type Operation,
  type ReadKind,
  type ReadOperation,
  type Step,
  valueOf,
  type WriteAnswer,
  type WriteOperation,
} from "./history.ts";

const NAMES = 3;
const TIMEOUT_MS = 1_500;
/** The longest pause (ms) between a client's operations. Pauses keep a history short enough to be judged. */
const MAX_PAUSE_MS = 40;
const RETRY_MS = 50;

/** What all clients of a history share. */
export interface SharedClientState {
  readonly history: number;
  readonly urls: readonly [string, ...string[]];
  readonly operations: Operation[];
  /** The transactions that any client has seen. */
  readonly seen: number[];
  /** The number of clients so far. */
  clients: number;
}

/** The documents of a read, and where a watch continues it. */
export interface Listed {
  readonly txId: number;
  readonly position: string;
  readonly documents: readonly FoundDocument[];
}

/** A client that writes and reads a few keys through random nodes, one operation after another. */
export class HistoryClient {
  readonly #shared: SharedClientState;
  readonly #picks: Picks;
  readonly #bucket: string;
  #id: number;
  #step = 0;

  constructor(shared: SharedClientState, picks: Picks) {
    this.#shared = shared;
    this.#picks = picks;
    this.#bucket = bucketOf(shared.history);
    this.#id = shared.clients++;
  }

  async run(signal: AbortSignal): Promise<void> {
    do {
      await this.#operate(signal);
      await delay(this.#picks.next() * MAX_PAUSE_MS);
    } while (!signal.aborted);
  }

  /** Lists the bucket, or a namespace of it. Returns undefined if a node refuses, which shows nothing. */
  async list(of: ReadKind, namespace = ""): Promise<Listed | undefined> {
    const asOf = of === "past" ? this.#pastTransaction() : 0;
    const query = queryOf(of, asOf);
    if (namespace !== "") query.push(`namespace=${namespace}`);
    if (this.#picks.next() < 0.5) query.push("limit=2");
    const call = now();
    const first = await this.#ask(`/api/v1/${this.#bucket}?${query.join("&")}`);
    if (first?.status !== 200) return undefined;
    const documents = [...(first.body as ListedDocument[])];
    for (let next = first.nextPage; next !== undefined;) {
      const more = await this.#ask(next);
      if (more?.status !== 200) return undefined;
      documents.push(...(more.body as ListedDocument[]));
      next = more.nextPage;
    }
    const listed = {
      txId: asOf === 0 ? (first.txId ?? 0) : asOf,
      position: first.position,
      documents: documents.map(({ namespace: within, name, revision, document }) => {
        return { key: `${within}/${name}`, revision, value: valueOf(document) };
      }),
    };
    this.#recordRead(call, { of, key: "", namespace, ...listed });
    return listed;
  }

  async #operate(signal: AbortSignal): Promise<void> {
    const kind = this.#picks.next();
    const key = this.#key();
    const namespace = this.#picks.of(["", ...NAMESPACES]);
    if (kind < 0.15) await this.#get("linearizable", key);
    else if (kind < 0.3) await this.list("linearizable", namespace);
    else if (kind < 0.38) await this.#get("current", key);
    else if (kind < 0.46) await this.list("current", namespace);
    else if (kind < 0.5) await this.#get("past", key);
    else if (kind < 0.55) await this.list("past", namespace);
    else if (kind < 0.7) await this.#putOrDelete([this.#put(key)]);
    else if (kind < 0.75) await this.#putOrDelete([{ op: "delete", key }]);
    else if (kind < 0.85) await this.#compareAndPut(key);
    else await this.#transact(key, signal);
  }

  async #get(of: ReadKind, key: string): Promise<FoundDocument | null | undefined> {
    const asOf = of === "past" ? this.#pastTransaction() : 0;
    // Of reads that are not linearizable, only those with `stale` name the transaction as of which they are valid.
    const query = of === "current" ? ["stale=true"] : queryOf(of, asOf);
    const call = now();
    const found = await this.#ask(`/api/v1/${this.#bucket}/${key}?${query.join("&")}`);
    if (found?.isRead !== true) return undefined;
    const version = found.version();
    const document =
      version === null ? null : { key, revision: version.revision, value: valueOf(found.body) };
    this.#recordRead(call, {
      of,
      key,
      namespace: "",
      txId: asOf === 0 ? (found.txId ?? 0) : asOf,
      documents: document === null ? [] : [document],
    });
    return document;
  }

  async #compareAndPut(key: string): Promise<void> {
    const match = await this.#match(key);
    if (match !== undefined) await this.#putOrDelete([match, this.#put(key)]);
  }

  /** Expects what a read finds. What an earlier state had is usually not there any more, so that the write fails. */
  async #match(key: string): Promise<Step | undefined> {
    const found = await this.#get(this.#picks.next() < 0.4 ? "past" : "current", key);
    return found === undefined ? undefined : { op: "match", key, revision: found?.revision ?? null };
  }

  /** Writes with PUT or DELETE, once. */
  async #putOrDelete(steps: readonly Step[]): Promise<void> {
    const headers: Record<string, string> = {};
    let request: RequestInit = {};
    for (const step of steps) {
      if (step.op === "put") request = { method: "PUT", body: JSON.stringify(step.value) };
      else if (step.op === "delete") request = { method: "DELETE" };
      else if (step.revision === null) headers["if-none-match"] = "*";
      else headers["if-match"] = `"${step.revision}"`;
    }
    const call = now();
    const key = steps[0]?.key ?? "";
    const answer = await this.#write(`/api/v1/${this.#bucket}/${key}`, { ...request, headers });
    if (answer !== undefined) this.#recordWrite(call, steps, answer);
  }

  /** Submits a transaction with an id, again through other nodes until its outcome is known. */
  async #transact(key: string, signal: AbortSignal): Promise<void> {
    const steps: Step[] = [];
    const match = this.#picks.next() < 0.6 ? await this.#match(key) : undefined;
    if (match !== undefined) steps.push(match);
    steps.push(this.#picks.next() < 0.7 ? this.#put(key) : { op: "delete", key });
    const other = this.#key();
    if (other !== key && this.#picks.next() < 0.7)
      steps.push(this.#picks.next() < 0.5 ? this.#put(other) : { op: "delete", key: other });
    this.#step += 1;
    const ops = steps.map((step) => {
      if (step.op === "match") return ["match", this.#bucket, step.key, step.revision];
      return step.op === "put"
        ? ["put", this.#bucket, step.key, step.value]
        : ["delete", this.#bucket, step.key];
    });
    const body = JSON.stringify({ ops, id: `${this.#bucket}-${this.#id}-${this.#step}` });
    const isAwaited = this.#picks.next() < 0.7;
    const call = now();
    let answer: WriteAnswer | undefined;
    let isSent = false;
    do {
      if (isSent) await delay(RETRY_MS);
      answer = await this.#write(`/api/v1/tx${isAwaited ? "?await=true" : ""}`, { method: "POST", body });
      isSent ||= answer !== undefined;
    } while (isSent && (answer === undefined || answer.kind === "unknown") && !signal.aborted);
    if (isSent) this.#recordWrite(call, steps, answer ?? { kind: "unknown" });
  }

  /** Sends a write. Returns undefined if it was refused before it was sent to the log. */
  async #write(path: string, init: RequestInit): Promise<WriteAnswer | undefined> {
    const found = await this.#ask(path, init);
    if (found === undefined) return undefined;
    if (found === "unknown") return { kind: "unknown" };
    if (found.status === 412) return { kind: "conflict" };
    const body = found.body as Written;
    const txId = body.duplicateOf ?? body.txId;
    if (txId === undefined) return found.code === "NOT_READY" ? undefined : { kind: "unknown" };
    this.#shared.seen.push(txId);
    if (!found.ok || found.status === 202) return { kind: "stored", txId };
    const { committed = true, existed = null } = body;
    return { kind: "outcome", txId, committed, existed };
  }

  /** Asks a random node. Returns undefined if no process received the request, or if there was no response to a read. */
  async #ask(path: string): Promise<NodeResponse | undefined>;
  async #ask(path: string, init: RequestInit): Promise<NodeResponse | "unknown" | undefined>;
  async #ask(path: string, init?: RequestInit): Promise<NodeResponse | "unknown" | undefined> {
    const node = this.#picks.below(this.#shared.urls.length);
    const address = `${this.#shared.urls[node] ?? ""}${path}`;
    // The path of a list's next page already contains the time limit.
    const url = address.includes("timeout=")
      ? address
      : `${address}${path.includes("?") ? "&" : "?"}timeout=${TIMEOUT_MS}`;
    const found = await askNode(node, url, { ...init, signal: AbortSignal.timeout(2 * TIMEOUT_MS) });
    if (typeof found === "string") return init === undefined || found === NOT_SENT ? undefined : "unknown";
    if (found.code === "INTERNAL" || (found.status < 500 && !isExpected(found)))
      throw new Error(`${init?.method ?? "GET"} ${url}: ${found.status} ${JSON.stringify(found.body)}`);
    return found;
  }

  #recordWrite(call: number, steps: readonly Step[], answer: WriteAnswer): void {
    this.#record({ kind: "write", client: this.#id, call, return: now(), steps, answer });
    // The write may take effect at any later time, so its client never begins another one.
    if (answer.kind === "unknown") this.#id = this.#shared.clients++;
  }

  #recordRead(
    call: number,
    { of, key, namespace, txId, documents }: Omit<ReadOperation, "client" | "call" | "return" | "kind">,
  ): void {
    if (txId > 0) this.#shared.seen.push(txId);
    const read = { of, key, namespace, txId, documents };
    this.#record({ kind: "read", client: this.#id, call, return: now(), ...read });
  }

  #record(operation: WriteOperation | ReadOperation): void {
    this.#shared.operations.push(operation);
  }

  #pastTransaction(): number {
    return this.#shared.seen[this.#picks.below(this.#shared.seen.length)] ?? 1;
  }

  #put(key: string): Step {
    this.#step += 1;
    return { op: "put", key, value: `${this.#id}.${this.#step}` };
  }

  #key(): string {
    return `${this.#picks.of(NAMESPACES)}/k${this.#picks.below(NAMES)}`;
  }
}

interface ListedDocument {
  readonly namespace: string;
  readonly name: string;
  readonly revision: number;
  readonly document: unknown;
}

interface Written {
  readonly txId?: number;
  readonly duplicateOf?: number;
  readonly committed?: boolean;
  readonly existed?: boolean | null;
}

function queryOf(of: ReadKind, asOf: number): string[] {
  if (of === "linearizable") return ["linearizable=true"];
  return of === "past" ? [`as-of=${asOf}`, `min-tx=${asOf}`] : [];
}

function isExpected({ ok, status, isRead }: NodeResponse): boolean {
  return ok || isRead || status === 412;
}
