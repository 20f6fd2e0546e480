import { type Clock, systemClock } from "@cairn/checkpoint";
import type { Logger } from "pino";
import type { NodeStatus } from "@cairn/client";
import type { CairnError } from "@cairn/kv";
import { PeerServer } from "../cluster/peer-server.ts";
import type { Meet } from "../checkpoints/met-chains.ts";
import { OnePast } from "./one-past.ts";
import { SelfCheck } from "./self-check.ts";
import type { IndexStore } from "../index/index-store.ts";
import { isoTime } from "../text/iso-time.ts";
import { logOffset } from "../index/rows/index-state.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { LogWatch } from "./log-watch.ts";
import type { NodeLife } from "./node-life.ts";
import { askBounds, indexFiles } from "./node-status.ts";
import { type Movement, type Stall, StallWatch, type WaitingFor } from "./stall-watch.ts";
import type { System } from "../system/system.ts";
import type { TxLog } from "../log/tx-log.ts";
import { type RepeatedWork, repeatWork } from "../concurrency/repeated-work.ts";

const LOOK_MS = 30_000;
/** Clocks of machines that are kept right differ by less. */
const FUTURE_MS = 60_000;

/** What a node's reporting works with. */
export interface ReportingParts {
  readonly system: System;
  readonly directory: IndexDirectory;
  readonly life: NodeLife;
  readonly logger: Logger;
  readonly status: () => Promise<NodeStatus>;
  /** About how long from one comparison with the other nodes to the next (ms); a minute when left out. */
  readonly compareEveryMs?: number | undefined;
  /** As in {@link StallWatch}; injected by tests. */
  readonly stall?: { readonly afterMs?: number; readonly clock?: Clock } | undefined;
}

/** What a node tells without being asked over HTTP: answers to those who have its log open, and what does not move. */
export class NodeReporting {
  readonly meet: Meet;
  readonly #parts: ReportingParts;
  readonly #peers: PeerServer;
  readonly #check: SelfCheck;
  readonly #watch: StallWatch;
  readonly #past: OnePast;
  readonly #log: LogWatch;
  #looks: RepeatedWork | undefined;
  /** Whether it was told that the newest transaction's time has not come yet. */
  #toldAhead = false;
  /** The index of which it was told that its files are gone. */
  #told: IndexStore | undefined;

  constructor(parts: ReportingParts) {
    const { system, directory, life, logger, status } = parts;
    this.#parts = parts;
    this.#check = new SelfCheck(system, directory, life, logger);
    this.#peers = new PeerServer(
      system.nodeId,
      {
        status,
        reached: async (txId, waitMs) => await life.position.reached(txId, waitMs),
        digestAt: async (log, txId) => await this.#check.digestAt(log, txId),
        check: async (log, txId, signal, onWork) => await this.#check.check(log, txId, signal, onWork),
        chainsAt: async (log, txId) => await this.#check.chainsAt(log, txId),
        compare: async ({ node, log, chains }) => await this.#past.compare(node, log, chains),
      },
      logger,
    );
    this.#past = new OnePast({
      life,
      check: this.#check,
      node: system.nodeId,
      instance: this.#peers.instance,
      logger,
      clock: systemClock,
      random: Math.random,
      everyMs: parts.compareEveryMs,
    });
    this.meet = this.#past.meet;
    this.#log = new LogWatch(system, life, logger);
    this.#watch = new StallWatch({
      look: () => this.#movement(),
      explain: async ({ phase, txId }) => await this.#explain(phase, txId),
      onStall: ({ message, ...stall }) => logger.warn(stall, `nothing has moved for a while. ${message}`),
      onMove: ({ forMs, phase, txId }) => logger.info({ forMs, phase, txId }, "it moves again"),
      onError: (error) => logger.warn({ err: error }, "what does not move could not be looked at"),
      ...parts.stall,
    });
  }

  start(): void {
    this.#watch.start();
    this.#past.start();
    const every = this.#parts.stall?.afterMs ?? LOOK_MS;
    const look = async (): Promise<number> => {
      this.#lookAtTime();
      await this.#lookAtFiles();
      await this.#lookAtLog();
      return every;
    };
    this.#looks = repeatWork(systemClock, { firstDelay: every, retryDelay: () => every }, look, (error) =>
      this.#parts.logger.warn({ err: error }, "the files of the index could not be looked at"),
    );
  }

  /** Where others have another past than this node's index, and it is not settled which is right. */
  get divergence(): NodeStatus["index"]["divergence"] {
    return this.#past.divergence;
  }

  /** What somebody should look at about the log. */
  get logWarnings(): NodeStatus["log"]["warnings"] {
    return this.#log.warnings;
  }

  /** What stands still now. */
  get stalled(): Stall | null {
    return this.#watch.stalled;
  }

  /** Removes what a killed process left. */
  async sweep(): Promise<void> {
    await this.#check.sweep();
  }

  /** The log is open: whoever else has it open may ask. */
  opened(log: TxLog): void {
    this.#peers.listen(log);
    void this.#lookAtLog();
  }

  async close(): Promise<void> {
    await Promise.all([this.#watch.stop(), this.#looks?.stop(), this.#past.close(), this.#peers.close()]);
  }

  /** Once for each wrong clock: the times of transactions stand still behind it, and nobody else would say why. */
  #lookAtTime(): void {
    const { time = 0 } = this.#parts.life.index?.state ?? {};
    const aheadMs = time - Date.now();
    const told = this.#toldAhead;
    this.#toldAhead = aheadMs >= FUTURE_MS;
    if (told || !this.#toldAhead) return;
    this.#parts.logger.warn(
      {
        txTime: isoTime(time),
        aheadMs,
        hint: "A clock was wrong, of this machine or of the log's server. No transaction's time is before that of an earlier one: until that time has come, all get the same, and expiry and reads as of a time go by it.",
      },
      "The newest transaction is of a time that has not come yet.",
    );
  }

  /** A removed file that is open reads on as if nothing had happened: nothing else would tell before the next checkpoint or start. */
  async #lookAtFiles(): Promise<void> {
    const { index } = this.#parts.life;
    const { warning } = await indexFiles(index);
    if (warning === undefined || this.#told === index) return;
    this.#told = index;
    this.#parts.logger.warn({ code: warning.code, hint: warning.hint }, warning.message);
  }

  async #lookAtLog(): Promise<void> {
    try {
      await this.#log.look();
    } catch (error) {
      this.#parts.logger.warn({ err: error }, "the log could not be looked at");
    }
  }

  #movement(): Movement | undefined {
    const { phase, position, report } = this.#parts.life;
    if (phase === "failed" || phase === "stopping") return undefined;
    const { progress } = report;
    const { txId } = position;
    // A ready node has applied what it knew of; whether there is more it learns when it asks.
    const isCaughtUp = phase === "ready";
    return {
      phase,
      txId,
      isCaughtUp,
      mark: `${phase} ${txId} ${progress?.unit ?? ""} ${progress?.done ?? ""}`,
    };
  }

  async #explain(phase: string, txId: number): Promise<WaitingFor | undefined> {
    const { life } = this.#parts;
    const { log, failure, report, identity, index } = life;
    const why = failure === undefined ? "" : inBrackets(failure);
    // In the order in which a node needs them: what is named is the first that it cannot get past.
    if (log === undefined) return { what: "log", text: `the log to be opened${why}` };
    if (failure?.code.startsWith("STORE_") === true) {
      return { what: "store", text: `the checkpoint store${why}` };
    }
    if (phase === "restoring" && report.progress?.unit === "bytes") {
      return { what: "store", text: "the rest of a checkpoint from its store" };
    }
    if (phase === "restoring" && report.asking.length > 0) {
      const places = report.asking.map((store) => store.identity ?? store.location);
      return { what: "store", text: `an answer of the checkpoint store ${places.join(" or ")}${why}` };
    }
    // It was told that the log is away, and of nothing else is it known that it is left to do.
    if (phase === "ready" && life.isLogAway && this.stalled === null) return undefined;
    const refusals: CairnError[] = [];
    const bounds = await askBounds(log, (error) => refusals.push(error));
    if (bounds === undefined) {
      // The follower runs into the same at once, and says so.
      if (phase === "ready" && refusals.length > 0 && this.stalled === null) return undefined;
      const [refusal] = refusals.map(inBrackets);
      return { what: "log", text: `the log "${log.name}", which does not answer${refusal ?? why}` };
    }
    if (phase === "restoring") {
      return { what: "files", text: `the files of an index or of a checkpoint store to be read${why}` };
    }
    const offset = identity === undefined || index === undefined ? 0 : logOffset(identity, index.state);
    const last = bounds.last + offset;
    if (last <= txId) return undefined;
    const [unread = ""] = this.logWarnings.filter(({ code }) => code === "LOG_UNREACHABLE").map(inBrackets);
    const text = `transactions up to ${last}, which the log "${log.name}" has and which do not come or are not applied${unread}`;
    return { what: "messages", text };
  }
}

/** Why something is waited for, behind what it is. */
function inBrackets({ code, message }: { readonly code: string; readonly message: string }): string {
  return ` (${code}: ${message.replace(/\.$/, "")})`;
}
