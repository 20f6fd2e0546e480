import type { Clock } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { Logger } from "pino";
import type { NodeStatus } from "@cairn/client";
import type { ComparePast } from "../checkpoints/compare-past.ts";
import {
  announceChains,
  announceOnce,
  othersFirst,
  type OwnChains,
  type SayParts,
  whoIs,
} from "./announce-chains.ts";
import type { PeerChains } from "./peer-messages.ts";
import type { RepeatedWork } from "../concurrency/repeated-work.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import { type DivergenceParts, Divergences } from "./divergences.ts";
import type { ComparedNode } from "./compared-node.ts";

/** What {@link OnePast} works with. */
export interface OnePastParts extends Pick<DivergenceParts, "check"> {
  readonly life: DivergenceParts["life"] & Pick<ComparedNode, "phase" | "log" | "position">;
  readonly node: string;
  /** Random, of this start of the node. */
  readonly instance: string;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** About how long from one announcement to the next (ms); a minute when left out. */
  readonly everyMs?: number | undefined;
}

const EVERY_MS = 60_000;
/** How long the others have to answer who are asked once more, since they were there just now. */
const AGAIN_MS = 3_000;
/** How long a node that is behind another one waits before it compares what it has. */
const CATCH_UP_MS = 5_000;

/** That all nodes of a log have one past: this node tells its chains to the others, and compares what it meets. */
export class OnePast {
  readonly comparePast: ComparePast;
  readonly #parts: OnePastParts;
  readonly #divergences: Divergences;
  readonly #saying: SayParts;
  #announcing: RepeatedWork | undefined;

  constructor(parts: OnePastParts) {
    const { life, instance } = parts;
    this.#parts = parts;
    this.#divergences = new Divergences({
      ...parts,
      othersFirst: async (turn, signal) => await othersFirst(life.log?.peers, { ...turn, instance }, signal),
      askAgain: async (signal) => ((await announceOnce(this.#saying, AGAIN_MS, signal)) ?? 0) > 0,
    });
    this.comparePast = this.#divergences.comparePast;
    this.#saying = {
      ...parts,
      channel: () => life.log?.peers,
      own: async () => await this.#own(),
      comparePast: async (other) => await this.comparePast(other),
    };
  }

  /** Where others have another past, and it is not settled which is right. */
  get divergence(): NodeStatus["index"]["divergence"] {
    return this.#divergences.status;
  }

  start(): void {
    const { everyMs = EVERY_MS } = this.#parts;
    this.#announcing = announceChains({ ...this.#parts, ...this.#saying, everyMs });
  }

  /** Compares what another node says of itself; answers this one's chains where they differ. */
  async compare(node: string, log: string, chains: PeerChains): Promise<PeerChains | undefined> {
    const { life } = this.#parts;
    const [newest] = chains.values;
    if (newest === undefined || life.index?.state.log.id !== log) return undefined;
    try {
      await life.position.reached(newest.txId, CATCH_UP_MS);
    } catch (error) {
      // What it has can be compared all the same.
      if (!isCairnError(error, "TX_TIMEOUT")) throw error;
    }
    const difference = await this.comparePast({ who: whoIs(node), isStored: false, log, chains });
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
