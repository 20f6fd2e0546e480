import { statfs } from "node:fs/promises";
import { Counter, Gauge, Registry } from "prom-client";
import type { NodeStatus, Phase } from "@cairn/client";
import type { NodeEventListener } from "../observe/node-event.ts";
import { TIMED_OUT, withTimeout } from "../concurrency/time-limit.ts";
import { INDEX_VERSION } from "../index/rows/index-state.ts";
import type { System } from "../api/system.ts";
import { VERSION } from "../api/version.ts";
import { type FollowingMetrics, followingMetrics } from "./following-metrics.ts";
import { type AnsweredRequest, httpMetrics } from "./http-metrics.ts";
import { processMetrics } from "./process-metrics.ts";
import { type StatusMetrics, statusMetrics } from "./status-metrics.ts";
import { type WatchMetrics, watchMetrics } from "./watch-metrics.ts";
import { workMetrics } from "./work-metrics.ts";

/** What a scrape asks. */
export interface ScrapeSources {
  readonly phase: Phase;
  status(): Promise<NodeStatus>;
}

/** The parts of a node's system that are told as metrics. */
export type MeasuredSystem = Pick<System, "nodeId" | "dbDir" | "scrubEvery"> & {
  readonly checkpointer?:
    | Pick<NonNullable<System["checkpointer"]>, "approxFrequency" | "verifyEvery">
    | undefined;
};

/** Below the 10 s that Prometheus waits by default; the log alone may take 2. */
const LONGEST_ASK_MS = 4_000;

/** One node's metrics, in a registry of its own: several nodes may live in one process. */
export class NodeMetrics {
  readonly registry = new Registry();
  readonly following: FollowingMetrics;
  readonly watches: WatchMetrics;
  readonly onEvent: NodeEventListener;
  readonly onRequest: (request: AnsweredRequest) => void;
  readonly onBarrier: () => void;
  readonly #status: StatusMetrics;
  readonly #disk: { readonly free: Gauge; readonly size: Gauge };
  readonly #failures: Counter<"source">;
  readonly #dbDir: string;
  readonly #onError: (source: string, error: unknown) => void;
  #scraping: Promise<string> | undefined;

  /** `onError` is told why a source could not be asked; the scrape goes on without it. */
  constructor(system: MeasuredSystem, onError: (source: string, error: unknown) => void) {
    const { registry } = this;
    this.#dbDir = system.dbDir;
    this.#onError = onError;
    this.following = followingMetrics(registry);
    this.watches = watchMetrics(registry);
    this.onEvent = workMetrics(registry);
    this.onRequest = httpMetrics(registry);
    this.#status = statusMetrics(registry);
    this.#disk = diskMetrics(registry);
    this.#failures = new Counter({
      name: "cairn_scrape_failures_total",
      help: "Scrapes that went on without a source, because it failed or did not answer within 4 s.",
      labelNames: ["source"],
      registers: [registry],
    });
    for (const source of ["status", "disk"]) this.#failures.inc({ source }, 0);
    const barriers = new Counter({
      name: "cairn_read_barriers_total",
      help: "Messages that this node appended to the log for linearizable reads.",
      registers: [registry],
    });
    this.onBarrier = () => barriers.inc();
    setConstants(registry, system);
  }

  /**
   * The text for Prometheus. Scrapes at one time share an answer, so that many ask no more of the node than one. What does not
   * answer within `limitMs` is left out.
   */
  async text(sources: ScrapeSources, limitMs = LONGEST_ASK_MS): Promise<string> {
    this.#scraping ??= this.#scrape(sources, limitMs).finally(() => {
      this.#scraping = undefined;
    });
    return await this.#scraping;
  }

  async #scrape(sources: ScrapeSources, limitMs: number): Promise<string> {
    this.#status.phase(sources.phase);
    const [status, disk] = await Promise.all([
      this.#ask("status", sources.status(), limitMs),
      this.#ask("disk", statfs(this.#dbDir), limitMs),
    ]);
    this.#status.status(status);
    setOrRemove(this.#disk.free, disk && disk.bavail * disk.bsize);
    setOrRemove(this.#disk.size, disk && disk.blocks * disk.bsize);
    return `${await this.registry.metrics()}\n${await processMetrics().metrics()}`;
  }

  /** What `answer` gives, or undefined once that is told to have failed or to be late. */
  async #ask<T>(source: string, answer: Promise<T>, limitMs: number): Promise<T | undefined> {
    try {
      const first = await withTimeout(answer, limitMs);
      if (first !== TIMED_OUT) return first;
      throw new Error(`it did not answer within ${limitMs} ms`);
    } catch (error) {
      // A node in trouble is the one whose other figures are wanted.
      this.#failures.inc({ source });
      this.#onError(source, error);
      return undefined;
    }
  }
}

function diskMetrics(registry: Registry): { free: Gauge; size: Gauge } {
  const registers = [registry];
  const free = new Gauge({
    name: "cairn_index_disk_free_bytes",
    help: "Free space on the file system of the index, for this user.",
    registers,
  });
  const size = new Gauge({
    name: "cairn_index_disk_size_bytes",
    help: "Size of the file system of the index.",
    registers,
  });
  return { free, size };
}

/** What does not change while a node lives. */
function setConstants(registry: Registry, { nodeId, checkpointer, scrubEvery }: MeasuredSystem): void {
  const registers = [registry];
  new Gauge({
    name: "cairn_build_info",
    help: "1; the labels say which node of which version this is.",
    labelNames: ["node", "version", "index_version"],
    registers,
  }).set({ node: nodeId, version: VERSION, index_version: INDEX_VERSION }, 1);
  new Gauge({
    name: "cairn_node_start_timestamp_seconds",
    help: "When the node was started.",
    registers,
  }).set(Date.now() / 1_000);
  const period = new Gauge({
    name: "cairn_checkpoint_period_seconds",
    help: "approx-frequency: about how often the cluster saves a checkpoint; absent without a checkpointer.",
    registers,
  });
  const verifyPeriod = new Gauge({
    name: "cairn_checkpoint_verify_period_seconds",
    help: "verify-every: about how often the cluster verifies one; absent when it is not configured.",
    registers,
  });
  const scrubPeriod = new Gauge({
    name: "cairn_index_scrub_period_seconds",
    help: "scrub-every: about how often all tables of the index are compared; absent when they are not.",
    registers,
  });
  setOrRemove(scrubPeriod, scrubEvery && scrubEvery / 1_000);
  setOrRemove(period, checkpointer && checkpointer.approxFrequency / 1_000);
  setOrRemove(verifyPeriod, checkpointer?.verifyEvery && checkpointer.verifyEvery / 1_000);
}

function setOrRemove(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}
