import type { OtherLook } from "@cairn/checkpoint";
import {
  type Clock,
  systemClock,
  unlessAborted,
  systemRandom,
  CairnError,
  coalesced,
  type RepeatedWork,
  repeatEvery,
} from "@cairn/kv";
import type { Logger } from "pino";
import type { NodeStatus } from "@cairn/client";
import { tellLeaving } from "../cluster/ask-cluster.ts";
import { clusterLook } from "../cluster/look-at-cluster.ts";
import { PeerServer } from "../cluster/peer-server.ts";
import { allStores } from "../checkpoints/checkpoint-stores.ts";
import { OnePast } from "../cluster/one-past.ts";
import { SelfCheck } from "../cluster/self-check.ts";
import { findingLog } from "../findings/finding-log.ts";
import { logOffset } from "../index/rows/index-state.ts";
import type { IndexDirectory } from "../db-dir/index-directory.ts";
import { LogWatch } from "./log-watch.ts";
import type { NodeLife } from "./node-life.ts";
import { answerOf, type ReportedState } from "./node-status.ts";
import { type Movement, StallWatch, type WaitingFor } from "./stall-watch.ts";
import type { System } from "../api/system.ts";
import type { TxLog } from "../log/tx-log.ts";
import { OrphanCount } from "../join/orphan-count.ts";

const LOOK_MS = 30_000;
/** How long a look at the store may wait for the other nodes (ms). */
const OTHERS_MS = 1_000;
/** The pause between attempts to find out whether a log that has refused transactions accepts them again (ms). */
const RETRY_MS = 5_000;

export interface ReportingParts {
  readonly system: System;
  readonly directory: IndexDirectory;
  readonly life: NodeLife;
  readonly logger: Logger;
  readonly status: () => Promise<NodeStatus>;
  /** Finds out whether a log that refused transactions, but none within the last `quietMs`, accepts them again. */
  readonly retryRefused: (quietMs: number) => Promise<void>;
  /** The approximate interval between comparisons with the other nodes (ms). Defaults to one minute. */
  readonly compareEveryMs?: number | undefined;
  /** As in {@link StallWatch}; set by tests. */
  readonly stall?: { readonly afterMs?: number; readonly clock?: Clock } | undefined;
}

/**
 * A node's reports beyond HTTP: responses to other processes on its log, stalls, faults of its log, files and clock.
 */
export class NodeReporting {
  readonly past: OnePast;
  readonly cluster: ReturnType<typeof clusterLook>;
  readonly #parts: ReportingParts;
  readonly #peers: PeerServer;
  readonly #check: SelfCheck;
  readonly #watch: StallWatch;
  readonly #log: LogWatch;
  readonly #repeated: RepeatedWork[] = [];
  readonly #noteFindings: ReturnType<typeof findingLog>;
  readonly #note = coalesced(async () => {
    const { status, logger } = this.#parts;
    try {
      this.#noteFindings((await status()).findings);
    } catch (error) {
      logger.warn({ err: error }, "the node could not be checked");
    }
  });
  readonly #orphans: OrphanCount;

  constructor(parts: ReportingParts) {
    const { system, directory, life, logger, status } = parts;
    this.#parts = parts;
    this.#check = new SelfCheck(system, directory, life, logger);
    this.#peers = new PeerServer(
      system.nodeId,
      {
        status,
        reached: (...wanted) => life.position.reached(...wanted),
        digestAt: (...of) => this.#check.digestAt(...of),
        check: (...of) => this.#check.check(...of),
        compare: async ({ node, log, chains }) => await this.past.compare(node, log, chains),
      },
      logger,
    );
    const { identity } = this.#peers;
    this.cluster = clusterLook(
      identity,
      () => this.#peers.expected,
      status,
      () => life.log,
    );
    this.past = new OnePast({
      life,
      check: this.#check,
      node: system.nodeId,
      instance: identity.instance,
      logger,
      clock: systemClock,
      random: systemRandom,
      everyMs: parts.compareEveryMs,
    });
    this.#log = new LogWatch(system, life);
    this.#noteFindings = findingLog(logger);
    life.observation.refusals.onChange = () => void this.#note();
    // A saved checkpoint or segment may end a warning.
    life.observation.events.listen(({ stage }) => {
      if (stage === "ended" && this.#log.warnings.length > 0) void this.look();
    });
    this.#orphans = new OrphanCount(directory, system.kvProvider);
    this.#watch = new StallWatch({
      look: () => this.#movement(),
      explain: async ({ phase, txId }) => await this.#explain(phase, txId),
      onChange: () => void this.#note(),
      onError: (error) => logger.warn({ err: error }, "could not determine what the node is waiting for"),
      ...parts.stall,
    });
  }

  /**
   * Returns what the other nodes of the log that save checkpoints found when they last looked at their stores. While the
   * store is moved, the nodes that were restarted also restore from the old one, and are not compared with the others.
   */
  async otherLooks(): Promise<OtherLook[]> {
    const { askedBy, nodes } = await this.cluster(OTHERS_MS);
    const [own = "", ...restored] = allStores(this.#parts.system).map((store) => store.location);
    return nodes.flatMap(({ instance, node, sameLog, status: { checkpoints } }) => {
      const { last: newest, lastCheckAt: at, locations } = checkpoints;
      const [location = "", ...its] = locations;
      if (instance === askedBy.instance || sameLog !== true || newest === null || at === null) return [];
      if (location !== own && (restored.includes(location) || its.includes(own))) return [];
      return [{ instance, node, location, at, newest }];
    });
  }

  start(): void {
    this.#watch.start();
    this.past.start();
    const every = this.#parts.stall?.afterMs ?? LOOK_MS;
    const retryMs = Math.min(every, RETRY_MS);
    this.#repeat(every, async () => {
      const { life } = this.#parts;
      if (life.phase === "ready" && life.index !== undefined)
        life.report.orphans = await this.#orphans.count(life.index);
      if (life.phase === "ready") life.report.uncompared = await this.#parts.directory.uncompared();
      await this.look();
    });
    this.#repeat(retryMs, async () => await this.#parts.retryRefused(retryMs));
  }

  /** The log and stores may never respond, and nothing depends on the end of this work, so it can be abandoned. */
  #repeat(every: number, work: () => Promise<void>): void {
    const abandoned = async (signal: AbortSignal): Promise<void> => await unlessAborted(work(), signal);
    const onError = (error: unknown): void =>
      this.#parts.logger.warn({ err: error }, "the node could not be checked");
    this.#repeated.push(repeatEvery(systemClock, every, abandoned, onError));
  }

  get state(): ReportedState {
    const { stalled } = this.#watch;
    const { divergence } = this.past;
    return { stalled, divergence, logWarnings: this.#log.warnings, sharesId: this.#peers.sharesId };
  }

  opened(log: TxLog): void {
    this.#peers.listen(log);
    void this.#peers.learn(log);
    void this.look();
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#watch.stop(),
      ...this.#repeated.map((work) => work.stop()),
      this.past.close(),
      this.#peers.close(),
    ]);
    // This comes last, so that no announcement follows the message that this node is leaving.
    const { peers } = this.#parts.life.log ?? {};
    if (peers !== undefined) await tellLeaving(peers, this.#peers.identity.node);
  }

  async look(): Promise<void> {
    try {
      await this.#log.look();
    } catch (error) {
      this.#parts.logger.warn({ err: error }, "the log could not be checked");
    }
    await this.#note();
  }

  #movement(): Movement | undefined {
    const { phase, position, report } = this.#parts.life;
    if (phase === "failed" || phase === "stopping") return undefined;
    const { progress } = report;
    const { txId } = position;
    // A ready node has applied everything that it knows of, so the log must be queried for more.
    const isCaughtUp = phase === "ready";
    const mark = `${phase} ${txId} ${progress?.unit ?? ""} ${progress?.done ?? ""} ${report.manifests}`;
    return { phase, txId, isCaughtUp, mark };
  }

  async #explain(phase: string, txId: number): Promise<WaitingFor | undefined> {
    const { life } = this.#parts;
    const { log, failure, report, identity, index } = life;
    const why = failure === undefined ? "" : inBrackets(failure);
    // What failed comes before what can only be guessed from what the node is doing. Without its log, it does nothing.
    if (log === undefined) return { what: "log", text: `the log to be opened${why}` };
    if (failure?.code.startsWith("STORE_") === true)
      return { what: "store", text: `the checkpoint store${why}` };
    // The unreachable log has already been reported, and no other work is known to be pending.
    if (phase === "ready" && life.following?.isLogAway === true && this.#watch.stalled === null)
      return undefined;
    const bounds = await answerOf(log.bounds());
    const isSilent = bounds === undefined || bounds instanceof CairnError;
    // A log that is not there yet does not keep a node from its stores.
    if (phase === "restoring" && (!isSilent || (await answerOf(log.exists())) === false)) {
      if (report.progress?.unit === "bytes")
        return { what: "store", text: "the rest of a checkpoint from its store" };
      const places = report.asking.map((store) => store.identity ?? store.location);
      if (places.length > 0)
        return { what: "store", text: `a response of the checkpoint store ${places.join(" or ")}` };
    }
    if (isSilent) {
      // The code that follows the log receives the same error immediately and reports it.
      if (phase === "ready" && bounds !== undefined && this.#watch.stalled === null) return undefined;
      const refusal = bounds === undefined ? why : inBrackets(bounds);
      return { what: "log", text: `the log "${log.name}", which does not respond${refusal}` };
    }
    // It answers some requests, but not all.
    if (phase === "restoring" && failure?.code === "LOG_UNREACHABLE")
      return { what: "log", text: `the log "${log.name}", which could not be read${why}` };
    if (phase === "restoring")
      return { what: "files", text: `the files of an index or of a checkpoint store to be read${why}` };
    const offset = identity === undefined || index === undefined ? 0 : logOffset(identity, index.state);
    const last = bounds.last + offset;
    if (last <= txId) return undefined;
    const problem = life.following?.logProblem;
    const unread = problem === undefined ? "" : inBrackets(problem);
    const text = `transactions up to ${last}, which are in the log "${log.name}" but do not arrive or are not applied${unread}`;
    return { what: "messages", text };
  }
}

function inBrackets({ code, message }: { readonly code: string; readonly message: string }): string {
  return ` (${code}: ${message.replace(/\.$/, "")})`;
}
