import type { Clock } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { NodeStatus } from "@cairn/client";
import type { ComparePast } from "../checkpoints/compare-past.ts";
import {
  announceChains,
  announceOnce,
  type OwnChains,
  type AnnouncementParts,
  nodeLabel,
} from "./announce-chains.ts";
import { othersFirst } from "./rebuild-turn.ts";
import type { PeerChains } from "./peer-messages.ts";
import type { RepeatedWork } from "../concurrency/repeated-work.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import { type DivergenceParts, Divergences } from "./divergences.ts";
import type { ComparedNode } from "./compared-node.ts";

export interface OnePastParts extends Pick<DivergenceParts, "check"> {
  readonly life: DivergenceParts["life"] & Pick<ComparedNode, "phase" | "log" | "position">;
  readonly node: string;
  /** The random id that was generated when this node started. */
  readonly instance: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** The approximate interval between announcements (ms). Defaults to one minute. */
  readonly everyMs?: number | undefined;
}

const EVERY_MS = 60_000;
/** The time to wait for the responses of nodes that have just responded. */
const REPEATED_ANSWERS_MS = 3_000;
/** The maximum time for which a lagging node tries to catch up before it compares. */
const CATCH_UP_MS = 5_000;

/**
 * Ensures that all nodes of a log have the same history. Announces this node's chains, and compares them with those of
 * other nodes and checkpoints.
 */
export class OnePast {
  readonly comparePast: ComparePast;
  readonly #parts: OnePastParts;
  readonly #divergences: Divergences;
  readonly #announcement: AnnouncementParts;
  #announcing: RepeatedWork | undefined;

  constructor(parts: OnePastParts) {
    const { life, instance } = parts;
    this.#parts = parts;
    this.#divergences = new Divergences({
      ...parts,
      othersFirst: async (turn, signal) => await othersFirst(life.log?.peers, { ...turn, instance }, signal),
      askAgain: async (signal) =>
        ((await announceOnce(this.#announcement, REPEATED_ANSWERS_MS, signal)) ?? 0) > 0,
    });
    this.comparePast = this.#divergences.comparePast;
    this.#announcement = {
      ...parts,
      channel: () => life.log?.peers,
      own: async () => await this.#own(),
      comparePast: async (other) => await this.comparePast(other),
    };
  }

  get divergence(): NodeStatus["index"]["divergence"] {
    return this.#divergences.status;
  }

  start(): void {
    const { everyMs = EVERY_MS } = this.#parts;
    this.#announcing = announceChains({ ...this.#parts, ...this.#announcement, everyMs });
  }

  /** Compares the chains that another node announced. Returns this node's chains if they differ. */
  async compare(node: string, log: string, chains: PeerChains): Promise<PeerChains | undefined> {
    const { life } = this.#parts;
    const [newest] = chains.values;
    if (newest === undefined || life.index?.state.log.id !== log) return undefined;
    try {
      await life.position.reached(newest.txId, CATCH_UP_MS);
    } catch (error) {
      // The part of the history that this node has can still be compared.
      if (!isCairnError(error, "TX_TIMEOUT")) throw error;
    }
    const difference = await this.comparePast({ who: nodeLabel(node), isStored: false, log, chains });
    return difference === undefined ? undefined : (await this.#own())?.chains;
  }

  async close(): Promise<void> {
    await Promise.all([this.#announcing?.stop(), this.#divergences.close()]);
  }

  async #own(): Promise<OwnChains | undefined> {
    const { index, agrees, phase } = this.#parts.life;
    if (index === undefined || !agrees || phase !== "ready") return undefined;
    const values = await index.chains();
    const { log } = index.state;
    return values.length === 0 ? undefined : { log: log.id, chains: { version: INDEX_VERSION, values } };
  }
}
