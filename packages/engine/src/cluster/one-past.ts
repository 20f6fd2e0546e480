import { type Clock, isCairnError, jittered, type RepeatedWork, repeatWork, unlessFailed } from "@cairn/kv";
import type { Logger } from "pino";
import type { Chains, NodeStatus, TxId } from "@cairn/client";
import type { ComparePast } from "../checkpoints/compare-past.ts";
import { errorFields } from "../observe/failures.ts";
import { askCompare, askStatus } from "./ask-cluster.ts";
import { type DivergenceParts, Divergences, type Turn } from "./divergences.ts";
import type { ComparedNode } from "./self-check.ts";

interface OnePastParts extends Pick<DivergenceParts, "check"> {
  readonly life: DivergenceParts["life"] & Pick<ComparedNode, "phase" | "log" | "position">;
  readonly node: string;
  readonly instance: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** The approximate interval between announcements (ms). Defaults to one minute. */
  readonly everyMs?: number | undefined;
}

const EVERY_MS = 60_000;
/** The maximum delay of the first announcement after a node has become ready. */
const FIRST_MS = 1_000;
/** The time to wait for responses. Lagging nodes respond once they have the transaction. */
const ANSWERS_MS = 10_000;
/** The time to wait for the responses of nodes that have just responded. */
const REPEATED_ANSWERS_MS = 3_000;
const CATCH_UP_MS = 5_000;
const STATUS_MS = 1_000;

/**
 * Ensures that all nodes of a log have the same history: announces this node's chains again and again, and nodes with
 * other chains respond, so that both know. If nodes cannot reach each other, this is logged once, and only checkpoints
 * are compared.
 */
export class OnePast {
  readonly comparePast: ComparePast;
  readonly #parts: OnePastParts;
  readonly #divergences: Divergences;
  #announcing: RepeatedWork | undefined;

  constructor(parts: OnePastParts) {
    this.#parts = parts;
    this.#divergences = new Divergences({
      ...parts,
      othersFirst: async (turn, signal) => await this.#othersFirst(turn, signal),
      askAgain: async (signal) => ((await this.#announce(REPEATED_ANSWERS_MS, signal)) ?? 0) > 0,
    });
    this.comparePast = this.#divergences.comparePast;
  }

  get divergence(): NodeStatus["index"]["divergence"] {
    return this.#divergences.status;
  }

  start(): void {
    const { clock, random, logger, everyMs = EVERY_MS } = this.#parts;
    const pause = (): number => jittered(everyMs, random);
    const announce = async (signal: AbortSignal): Promise<number> =>
      (await this.#announce(ANSWERS_MS, signal)) === undefined ? Math.min(FIRST_MS, everyMs) : pause();
    const delays = { firstDelay: FIRST_MS * random(), retryDelay: pause };
    let isLogged = false;
    this.#announcing = repeatWork(clock, delays, announce, (error) => {
      if (isCairnError(error, "LOG_UNREACHABLE") || isLogged) return;
      isLogged = true;
      const what = "This node's index cannot be compared with those of other nodes, only with checkpoints.";
      logger.warn(errorFields(error), what);
    });
  }

  /** Compares the chains that another node announced. Returns this node's chains if they differ. */
  async compare(node: string, log: string, chains: Chains): Promise<Chains | undefined> {
    const { life } = this.#parts;
    const [newest] = chains;
    if (newest === undefined || life.index?.state.log.id !== log) return undefined;
    // Otherwise, the part of the history that this node has can still be compared.
    await unlessFailed(life.position.reached(newest.txId, CATCH_UP_MS), "TX_TIMEOUT", undefined);
    const difference = await this.comparePast({ who: `node ${node}`, isStored: false, log, chains });
    return difference === undefined ? undefined : (await this.#own(newest.txId))?.chains;
  }

  /** Returns the nodes that answer within a second that their history of a log is not that of these chains. */
  async differing(log: string, chains: Chains): Promise<{ node: string; chains: Chains }[]> {
    const { life, node, instance } = this.#parts;
    const channel = life.log?.peers;
    const found: { node: string; chains: Chains }[] = [];
    if (channel === undefined || chains.length === 0) return found;
    const own = { log, node, instance, chains };
    try {
      for await (const other of askCompare(channel, own, { timeoutMs: STATUS_MS })) found.push(other);
    } catch (error) {
      // Nodes that cannot be asked show nothing.
      if (!isCairnError(error)) throw error;
    }
    return found;
  }

  async close(): Promise<void> {
    await Promise.all([this.#announcing?.stop(), this.#divergences.close()]);
  }

  /** Returns the number of differing nodes; undefined while there is no channel or nothing to announce. */
  async #announce(timeoutMs: number, signal: AbortSignal): Promise<number | undefined> {
    const { life, node, instance } = this.#parts;
    const channel = life.log?.peers;
    const own = channel === undefined ? undefined : await this.#own();
    if (channel === undefined || own === undefined) return undefined;
    const differing = new Set<string>();
    for await (const other of askCompare(channel, { ...own, node, instance }, { timeoutMs, signal })) {
      const { log } = own;
      const past = { who: `node ${other.node}`, isStored: false, log, chains: other.chains };
      if ((await this.comparePast(past)) !== undefined) differing.add(other.instance);
    }
    return differing.size;
  }

  /** Returns the id of the log and the node's chains, also at `at`; undefined while there is nothing to announce. */
  async #own(at?: TxId): Promise<{ readonly log: string; readonly chains: Chains } | undefined> {
    const { index, agrees, phase } = this.#parts.life;
    if (index === undefined || !agrees || phase !== "ready") return undefined;
    const chains = await index.chains(at === undefined ? [] : [at]);
    const { log } = index.state;
    return chains.length === 0 ? undefined : { log: log.id, chains };
  }

  /**
   * Returns whether this node must wait before it compares its index with a rebuild: one node at a time, the one that
   * differs from the most others first. That proves nothing, but makes it likely that a wrong node is checked early.
   */
  async #othersFirst(own: Turn, signal: AbortSignal): Promise<boolean> {
    const { life, instance: ownInstance } = this.#parts;
    const channel = life.log?.peers;
    if (channel === undefined) return false;
    const peers = await askStatus(channel, { timeoutMs: STATUS_MS, signal });
    return peers.some(({ instance, status: { index } }) => {
      const { state, from = 0 } = index.divergence ?? {};
      if (instance === ownInstance || (state !== "comparing" && state !== "waiting")) return false;
      if (state === "comparing" && own.state === "waiting") return true;
      const isFirst = from > own.from || (from === own.from && instance < ownInstance);
      return state === own.state && isFirst;
    });
  }
}
