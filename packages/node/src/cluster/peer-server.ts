import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { CairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { NodeStatus, TxId } from "@cairn/client";
import { Semaphore } from "../concurrency/semaphore.ts";
import { asCairnError } from "../observe/failures.ts";
import type { SendAnswer } from "../log/peer-channel.ts";
import type { TxLog } from "../log/tx-log.ts";
import {
  type Answer,
  decodeQuestion,
  encodeMessage,
  type PeerChains,
  type PeerIdentity,
  type Question,
} from "./peer-messages.ts";

/** What came of comparing a node's index with a rebuild out of the log. */
export type CheckOutcome = NonNullable<Answer["check"]>;

/** How far long work is, in transactions. */
export type OnWork = (done: number, total: number) => void;

/** What a node does for those who ask. */
export interface PeerActions {
  status(): Promise<NodeStatus>;
  /** Waits until the index holds a transaction. `TX_TIMEOUT`. */
  reached(txId: TxId, waitMs: number): Promise<void>;
  /** At a transaction, which the index holds, of the log with that id. */
  digestAt(log: string, txId: TxId): Promise<{ txId: TxId; digest: string }>;
  /** The chains at a transaction of the log with that id, or at the link before it. */
  chainsAt(log: string, txId: TxId): Promise<PeerChains>;
  /** Compares the chains of another node with those of the index; answers its own where the two differ. */
  compare(question: Extract<Question, { ask: "compare" }>): Promise<PeerChains | undefined>;
  /** Compares the index with a rebuild; leaves an index that is not the log's. */
  check(log: string, txId: TxId, signal: AbortSignal, onWork: OnWork): Promise<CheckOutcome>;
}

/** A question for which an index is read through or built. */
type IndexQuestion = Extract<Question, { ask: "digest" | "check" }>;

/** So often those who wait for a long answer hear that it is being worked on. */
const WORKING_EVERY_MS = 1_000;
/** An index is read through, or built anew, for one question at a time; so many may wait. */
const MOST_WAITING = 8;
/** More nodes than this tell their chains within seconds only where somebody else writes there. */
const MOST_COMPARING = 1_000;

/** Answers the questions that other holders of the log send to one node. */
export class PeerServer {
  readonly #identity: PeerIdentity;
  readonly #actions: PeerActions;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  #unsubscribe: () => void = () => {};
  /** Held while an index is read through or rebuilt for a question. */
  readonly #working = new Semaphore();
  /** The last rebuild. Closing waits for it, since nothing else ends it. */
  #checking: Promise<unknown> = Promise.resolve();
  #comparing = 0;
  /** Questions that take turns and are not answered yet. */
  #waiting = 0;

  constructor(node: string, actions: PeerActions, logger: Logger) {
    const startedAt = new Date().toISOString();
    this.#identity = { instance: randomUUID(), node, host: hostname(), pid: process.pid, startedAt };
    this.#actions = actions;
    this.#logger = logger;
  }

  /** Random, of this start of the node. */
  get instance(): string {
    return this.#identity.instance;
  }

  /** Begins to answer those who have this log open, where it lets them reach one another. */
  listen({ peers }: TxLog): void {
    if (peers === undefined || this.#stop.signal.aborted) return;
    this.#unsubscribe();
    this.#unsubscribe = peers.serve(
      (bytes, send) => {
        const question = decodeQuestion(bytes);
        // What a later version asks, or somebody else writes there, has no answer here.
        if (question !== undefined) void this.#answer(question, send);
      },
      (error) => {
        const { code, hint, message } = error;
        this.#logger.warn({ code, hint }, `${message} cairn status --cluster will not show this node.`);
      },
    );
  }

  /** Answers no more, and waits for the end of a rebuild. What reads the index ends when that is closed. */
  async close(): Promise<void> {
    this.#unsubscribe();
    this.#stop.abort(new CairnError("NOT_READY", "The node is stopping.", { hint: "Ask another node." }));
    await Promise.allSettled([this.#checking]);
  }

  async #answer(question: Question, send: SendAnswer): Promise<void> {
    const reply = (part: object): void => send(encodeMessage({ cairn: 1, ...this.#identity, ...part }));
    if (question.ask === "check" && question.instance !== this.#identity.instance) return;
    try {
      if (question.ask === "status") return reply({ status: await this.#actions.status() });
      if (question.ask === "chains") {
        return reply({ chains: await this.#actions.chainsAt(question.log, question.txId) });
      }
      if (question.ask === "compare") {
        if (question.instance === this.#identity.instance) return;
        return await this.#compare(question, reply);
      }
      await this.#inTurn(question, reply);
    } catch (thrown) {
      const error = asCairnError(thrown);
      if (error.code === "INTERNAL") this.#logger.error({ err: thrown }, error.message);
      reply({ error: { code: error.code, message: error.message, hint: error.hint ?? null } });
    }
  }

  async #compare(
    question: Extract<Question, { ask: "compare" }>,
    reply: (part: object) => void,
  ): Promise<void> {
    // It comes again in a minute.
    if (this.#comparing >= MOST_COMPARING) return;
    this.#comparing += 1;
    try {
      const chains = await this.#actions.compare(question);
      if (chains !== undefined) reply({ chains });
    } finally {
      this.#comparing -= 1;
    }
  }

  async #inTurn(question: IndexQuestion, reply: (part: object) => void): Promise<void> {
    if (this.#waiting >= MOST_WAITING) {
      throw new CairnError("CONFLICT", `The node works on ${MOST_WAITING} such questions already.`, {
        hint: "Ask again when they are answered.",
      });
    }
    let working = { done: 0, total: 0 };
    const onWork: OnWork = (done, total) => {
      working = { done, total };
    };
    const timer = setInterval(() => reply({ working }), WORKING_EVERY_MS);
    this.#waiting += 1;
    try {
      reply({ working });
      // Before its turn: a transaction that comes late must not hold up other questions.
      if (question.ask === "digest") await this.#actions.reached(question.txId, question.waitMs);
      const release = await this.#working.acquire();
      try {
        reply(await this.#perform(question, onWork));
      } finally {
        release();
      }
    } finally {
      this.#waiting -= 1;
      clearInterval(timer);
    }
  }

  async #perform(question: IndexQuestion, onWork: OnWork): Promise<object> {
    const { signal } = this.#stop;
    signal.throwIfAborted();
    const { log, txId } = question;
    if (question.ask === "digest") return { digest: await this.#actions.digestAt(log, txId) };
    const check = this.#actions.check(log, txId, signal, onWork);
    this.#checking = check;
    return { check: await check };
  }
}
