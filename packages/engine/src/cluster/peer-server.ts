import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { CairnError, Semaphore } from "@cairn/kv";
import type { Logger } from "pino";
import type { Chains, NodeStatus, TxId } from "@cairn/client";
import { nodeClosed } from "../api/not-ready.ts";
import { asCairnError, asFailure } from "../observe/failures.ts";
import type { PeerChannel } from "../log/peer-channel.ts";
import type { TxLog } from "../log/tx-log.ts";
import { type AskOptions, askSilent, askStatus } from "./ask-cluster.ts";
import {
  type Answer,
  type AnswerContent,
  decodeQuestion,
  encodeAnswer,
  type PeerIdentity,
  type Question,
  type SilentNode,
} from "./peer-messages.ts";

export type CheckOutcome = NonNullable<Answer["check"]>;

export type OnWork = (done: number, total: number) => void;

export interface PeerActions {
  status(): Promise<NodeStatus>;
  reached(txId: TxId, waitMs: number): Promise<void>;
  digestAt(log: string, txId: TxId): Promise<{ txId: TxId; digest: string }>;
  /** Compares the chains of another node with those of the index. Returns the index's chains if they differ. */
  compare(question: Extract<Question, { ask: "compare" }>): Promise<Chains | undefined>;
  /** Compares the index with a rebuild, and leaves the index if they differ. */
  check(log: string, txId: TxId, signal: AbortSignal, onWork: OnWork): Promise<CheckOutcome>;
}

type Reply = (content: AnswerContent) => void;
type IndexQuestion = Extract<Question, { ask: "digest" | "check" }>;

const WORKING_EVERY_MS = 1_000;
/** The maximum number of waiting requests. An index is read or rebuilt for one request at a time. */
const MAX_WAITING = 8;
/** Only an attacker would announce more chains than this within seconds. */
const MAX_COMPARING = 1_000;

/** How long a silent node is expected to respond (ms). Nodes announce themselves about every minute. */
const EXPECTED_MS = 180_000;
/** How long a node that has opened its log waits for the others to report that they are running (ms). */
const LEARN_MS = 3_000;

export class PeerServer {
  readonly identity: PeerIdentity;
  readonly #actions: PeerActions;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  #unsubscribe: () => void = () => {};
  readonly #working = new Semaphore();
  /** The last rebuild. `close` waits for it, because closing the index does not end it. */
  #checking: Promise<unknown> = Promise.resolve();
  readonly #heard = new HeardNodes();
  #comparing = 0;
  #waiting = 0;

  constructor(node: string, actions: PeerActions, logger: Logger) {
    const startedAt = new Date().toISOString();
    this.identity = { instance: randomUUID(), node, host: hostname(), pid: process.pid, startedAt };
    this.#actions = actions;
    this.#logger = logger;
  }

  /** Returns the instances of this node and of those that it has heard from within the last few announcements. */
  get expected(): ReadonlySet<string> {
    return new Set([this.identity.instance, ...this.#heard.recent(EXPECTED_MS)]);
  }

  /** Whether another process with this node's id has announced itself since this one started, and not long ago. */
  get sharesId(): boolean {
    return this.#heard.recent(EXPECTED_MS, this.identity.node).length > 0;
  }

  listen({ peers }: TxLog): void {
    if (peers === undefined || this.#stop.signal.aborted) return;
    this.#unsubscribe();
    this.#unsubscribe = peers.serve(
      (bytes, send) => {
        const question = decodeQuestion(bytes);
        // Requests of later versions, and other messages, get no response.
        if (question === undefined) return;
        const reply: Reply = (content) =>
          send(encodeAnswer({ ...this.identity, ...content }, peers.maxAnswerBytes ?? Infinity));
        void this.#answer(question, reply);
      },
      (error) => {
        const { code, hint, message } = error;
        this.#logger.warn({ code, hint }, `${message} cairn status --cluster will not show this node.`);
      },
    );
  }

  /**
   * Asks the nodes of a log who is there, and which nodes they remember. A node knows none when it starts, and would not
   * miss one that disappears before its next announcement. What cannot be learned now, announcements show later.
   */
  async learn({ peers }: TxLog): Promise<void> {
    if (peers === undefined) return;
    try {
      await this.#learn(peers, { timeoutMs: LEARN_MS, signal: this.#stop.signal });
    } catch (thrown) {
      const error = asCairnError(thrown);
      if (error.code === "INTERNAL") this.#logger.error({ err: thrown }, error.message);
    }
  }

  async #learn(channel: PeerChannel, options: AskOptions): Promise<void> {
    const note = (one: Heard): void => {
      // An earlier process of this node may be among those that others remember.
      if (one.node !== this.identity.node) this.#heard.heard(one);
    };
    const askedAt = performance.now();
    const peers = await askStatus(channel, options);
    const since = performance.now();
    const logs = new Set<string>();
    for (const { instance, node, status } of peers) {
      const { id } = status.log;
      if (id === null) continue;
      logs.add(id);
      // It was there when it was asked, and may have said since that it leaves.
      note({ instance, node, log: id, at: askedAt });
    }
    for (const log of logs) {
      const silent = await askSilent(channel, peers, log, options);
      for (const { instance, node, forMs } of silent) note({ instance, node, log, at: since - forMs });
    }
  }

  /** Stops responding, and waits for a rebuild to end. Reads of the index end when the index is closed. */
  async close(): Promise<void> {
    this.#unsubscribe();
    this.#stop.abort(nodeClosed());
    await Promise.allSettled([this.#checking]);
  }

  async #answer(question: Question, reply: Reply): Promise<void> {
    if (question.ask === "check" && question.instance !== this.identity.instance) return;
    try {
      if (question.ask === "status") return reply({ status: await this.#actions.status() });
      if (question.ask === "others") {
        return reply({ others: this.#heard.others(question.log, question.instances) });
      }
      if (question.ask === "leaving") {
        this.#heard.left(question.node);
        return reply({});
      }
      if (question.ask === "compare") {
        if (question.instance === this.identity.instance) return;
        this.#heard.heard({ ...question, at: performance.now() });
        return await this.#compare(question, reply);
      }
      await this.#inTurn(question, reply);
    } catch (thrown) {
      const error = asCairnError(thrown);
      if (error.code === "INTERNAL") this.#logger.error({ err: thrown }, error.message);
      reply({ error: asFailure(error) });
    }
  }

  async #compare(question: Extract<Question, { ask: "compare" }>, reply: Reply): Promise<void> {
    // An announcement can be dropped, because it is repeated about every minute.
    if (this.#comparing >= MAX_COMPARING) return;
    this.#comparing += 1;
    try {
      const chains = await this.#actions.compare(question);
      if (chains !== undefined) reply({ chains });
    } finally {
      this.#comparing -= 1;
    }
  }

  async #inTurn(question: IndexQuestion, reply: Reply): Promise<void> {
    if (this.#waiting >= MAX_WAITING) {
      throw new CairnError(
        "CONFLICT",
        `The node is already working on ${MAX_WAITING} such requests.`,
        "Try again later.",
      );
    }
    let working = { done: 0, total: 0 };
    const onWork: OnWork = (done, total) => {
      working = { done, total };
    };
    const timer = setInterval(() => reply({ working }), WORKING_EVERY_MS);
    this.#waiting += 1;
    try {
      reply({ working });
      // Waits outside the semaphore, because a late transaction must not delay other requests.
      if (question.ask === "digest") await this.#actions.reached(question.txId, question.waitMs);
      await this.#working.run(async () => reply(await this.#perform(question, onWork)));
    } finally {
      this.#waiting -= 1;
      clearInterval(timer);
    }
  }

  async #perform(question: IndexQuestion, onWork: OnWork): Promise<AnswerContent> {
    const { signal } = this.#stop;
    signal.throwIfAborted();
    const { log, txId } = question;
    if (question.ask === "digest") return { digest: await this.#actions.digestAt(log, txId) };
    const check = this.#actions.check(log, txId, signal, onWork);
    this.#checking = check;
    return { check: await check };
  }
}

/** How long a silent node is remembered (ms). Nodes announce themselves about every minute. */
const REMEMBERED_MS = 3_600_000;
/** The nodes remembered are limited, because any process that can reach the nodes can send announcements. */
const MAX_REMEMBERED = 1_000;
const MAX_NAMED = 100;

interface Heard {
  readonly instance: string;
  readonly node: string;
  readonly log: string;
  readonly at: number;
}

/** The other nodes that a node has heard from, itself or through others, so that a frozen or killed node is still known. */
export class HeardNodes {
  readonly #heard = new Map<string, Heard>();
  /** When nodes have stopped: a response to an earlier question may be noted later. */
  readonly #left = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Does nothing if the node has stopped since, or was heard from later. */
  heard({ instance, node, log, at }: Heard): void {
    const isOld =
      at <= Math.max(this.#left.get(node) ?? -Infinity, this.#heard.get(instance)?.at ?? -Infinity);
    if (!isOld) remember(this.#heard, instance, { instance, node, log, at });
  }

  recent(withinMs: number, of?: string): string[] {
    const now = this.#now();
    return [...this.#heard]
      .filter(([, { at, node }]) => now - at < withinMs && (of === undefined || of === node))
      .map(([instance]) => instance);
  }

  /** Forgets a node that stops, with its earlier processes: it may have been killed before it ran again. */
  left(node: string): void {
    for (const [instance, one] of this.#heard) if (one.node === node) this.#heard.delete(instance);
    remember(this.#left, node, this.#now());
  }

  others(log: string, instances: readonly string[]): SilentNode[] {
    const now = this.#now();
    const known = new Set(instances);
    return [...this.#heard]
      .filter(([instance, one]) => one.log === log && !known.has(instance) && now - one.at < REMEMBERED_MS)
      .map(([instance, { node, at }]) => ({ instance, node, forMs: Math.round(now - at) }))
      .slice(-MAX_NAMED);
  }
}

function remember<T>(known: Map<string, T>, key: string, value: T): void {
  known.delete(key);
  known.set(key, value);
  const [oldest] = known.keys();
  if (known.size > MAX_REMEMBERED && oldest !== undefined) known.delete(oldest);
}
