import { systemClock, CairnError, type ErrorCode, isCairnError } from "@cairn/kv";
import type { NodeStatus, Phase, QueueStatus, Warning } from "@cairn/client";
import { asFailure, asWarning } from "../observe/failures.ts";
import { isoTime } from "@cairn/text";
import type { Logger } from "pino";
import type { ServerCertificate } from "../findings/node-findings.ts";
import type { AppliedCounts } from "../index/index-store.ts";
import { EventDispatcher } from "../observe/event-dispatcher.ts";
import { eventLog } from "../observe/event-log.ts";
import type { NodeEvent, NodeEventListener } from "../observe/node-event.ts";
import type { AnsweredRequest } from "../observe/resource-use.ts";
import type { CutoffReason } from "../watch/watch-event.ts";

export interface NodeMetrics {
  readonly following: {
    /** Called once per array of messages rather than once per transaction. */
    applied(counts: AppliedCounts, seconds: number): void;
    /** Counts each time that the node begins to read the log: at the start, and after each interruption. */
    reading(): void;
    left(code: string): void;
  };
  readonly watches: { opened(): void; closed(): void; cutOff(reason: CutoffReason): void };
  readonly onEvent: NodeEventListener;
  readonly onRequest: (request: AnsweredRequest) => void;
  readonly onBarrier: () => void;
  /** Called with what the reads of an attached checkpoint fetched from the store, once it is no longer attached. */
  readonly onAttachmentEnded: (
    counts: Pick<NonNullable<NodeStatus["attached"]>, "requests" | "bytes">,
  ) => void;
  readonly onCertificate: (certificate: ServerCertificate) => void;
  /** Returns Prometheus text. Omits sources that fail or respond too late. */
  text(sources: {
    readonly phase: Phase;
    status(): Promise<NodeStatus>;
    queues(): Promise<readonly QueueStatus[]>;
  }): Promise<string>;
}

/** How long a refused connection or watch is reported (ms). Clients try again within seconds. */
const REFUSED_MS = 120_000;

export class NodeObservation {
  readonly events: EventDispatcher;
  readonly metrics: NodeMetrics;
  readonly lastResults = new LastResults();
  readonly refusals = new RefusedSubmissions();
  /** The certificate of the HTTP server; undefined if it has none. */
  certificate: ServerCertificate | undefined;
  #refused: (Warning & { readonly since: string }) | undefined;
  #refusedAt = Number.NEGATIVE_INFINITY;
  readonly #unusable = new Map<string, Warning & { readonly since: string }>();

  constructor(metrics: NodeMetrics, logger: Logger, onEvent?: NodeEventListener) {
    this.events = new EventDispatcher((error) =>
      logger.warn({ err: error }, "a listener for the node's events failed; the node is not affected"),
    );
    this.metrics = metrics;
    this.events.listen(eventLog(logger));
    this.events.listen(this.metrics.onEvent);
    this.events.listen((event) => this.lastResults.note(event));
    // This listener is added last, so that the status and the metrics already reflect an event when the embedding
    // program receives it.
    if (onEvent !== undefined) this.events.listen(onEvent);
  }

  /** The files of the server that have changed and cannot be used. */
  get unusableFiles(): readonly (Warning & { readonly since: string })[] {
    return [...this.#unusable.values()];
  }

  /** What the server has refused lately, because too many connections or watches are open. */
  get refusedConnections(): (Warning & { readonly since: string }) | undefined {
    return performance.now() - this.#refusedAt < REFUSED_MS ? this.#refused : undefined;
  }

  noteRefused(problem: CairnError): void {
    const since = this.refusedConnections?.since ?? isoTime(systemClock.now());
    this.#refused = { ...asWarning(problem), since };
    this.#refusedAt = performance.now();
  }

  noteCertificate(certificate: ServerCertificate): void {
    this.certificate = certificate;
    this.metrics.onCertificate(certificate);
  }

  noteFiles(paths: readonly string[], problem: CairnError | undefined): void {
    const files = paths.join("\n");
    const since = this.#unusable.get(files)?.since ?? isoTime(systemClock.now());
    if (problem === undefined) this.#unusable.delete(files);
    else this.#unusable.set(files, { ...asWarning(problem), since });
  }
}

/** Unlike the checkpointer, this object is kept when the node joins again. */
export class LastResults {
  saved: NodeStatus["checkpoints"]["lastSaved"] = null;
  verified: { readonly verifiedAt: string; readonly durationMs: number } | null = null;
  scrub: NodeStatus["index"]["lastScrub"] = null;
  drill: NodeStatus["checkpoints"]["lastDrill"] = null;

  note(event: NodeEvent): void {
    if (event.stage === "failed" && event.work === "verification") {
      const { at, durationMs, error } = event;
      // `NOT_READY` means that the node stopped or joined again, which has nothing to do with the checkpoint.
      if (error.code !== "NOT_READY")
        this.drill = { at, durationMs, outcome: "failed", name: null, ...asFailure(error) };
    }
    if (event.stage !== "ended") return;
    const { at, bytes, durationMs } = event;
    if (event.work === "scrub") this.scrub = { at, durationMs, bytes };
    else if (event.work === "checkpoint" && event.outcome === "saved") {
      const { name, txId } = event.checkpoint;
      this.saved = { name, txId, bytes, at, durationMs };
    } else if (event.work === "verification") {
      const { name, verifiedAt } = event.verified;
      this.verified = { verifiedAt, durationMs };
      this.drill = { at, durationMs, outcome: "verified", name, code: null, message: null, hint: null };
    }
  }
}

/** How long the log may take to store a transaction before it counts as one that stores none (ms). */
const UNSTORED_MS = 30_000;
const UNSTORED = new CairnError(
  "LOG_UNREACHABLE",
  `The log has not stored a transaction within ${UNSTORED_MS / 1_000} s.`,
  "If the log is embedded, check its disk: the kernel's log names a device that hangs, and a frozen file system must be thawed (fsfreeze -u). Otherwise, check the log's servers and the network. The log then continues by itself.",
);

const LOG_REFUSALS = new Set<ErrorCode>(["LOG_FULL", "DISK_FULL", "LOG_UNREACHABLE"]);

/** Whether the log accepts transactions. A log that refuses them can still be read: nothing else alerts an operator. */
export class RefusedSubmissions {
  /** Called when the refusals begin, when their reason changes, and when they end. */
  onChange: () => void = () => {};
  #error: CairnError | undefined;
  #since = 0;
  #lastAt = 0;
  /** What the log has been given, oldest first, with its time: a disk that hangs neither stores nor refuses it. */
  readonly #storing = new Map<Promise<unknown>, number>();
  /** When the log last stored something. One that is only busy stores the rest as well, in its turn. */
  #storedAt = Number.NEGATIVE_INFINITY;
  /** When the log was given the first of what it has not acknowledged in time since it last stored something. */
  #unansweredSince = Number.POSITIVE_INFINITY;

  get refused(): NodeStatus["log"]["refused"] {
    if (this.#error !== undefined) return { since: isoTime(this.#since), ...asFailure(this.#error) };
    const forMs = this.#unstoredMs(Math.min(this.#storingSince, this.#unansweredSince));
    if (forMs < UNSTORED_MS) return null;
    return { since: isoTime(systemClock.now() - forMs), ...asFailure(UNSTORED) };
  }

  get #storingSince(): number {
    const [oldest = Number.POSITIVE_INFINITY] = this.#storing.values();
    return oldest;
  }

  /** How long the log has stored nothing although it was given something at `since` (ms). */
  #unstoredMs(since: number): number {
    // The machine's time may have been corrected.
    return Math.round(performance.now() - Math.max(since, this.#storedAt));
  }

  /** Throws `LOG_UNREACHABLE` if the log stores nothing: what it is given remains in memory, for clients that have left. */
  checkStoring(): void {
    if (this.#unstoredMs(this.#storingSince) < UNSTORED_MS) return;
    throw new CairnError(UNSTORED.code, `${UNSTORED.message} This one was not given to it.`, UNSTORED.hint);
  }

  async storing<T>(appending: Promise<T>): Promise<T> {
    const givenAt = performance.now();
    this.#storing.set(appending, givenAt);
    try {
      const stored = await appending;
      this.#storedAt = performance.now();
      this.#unansweredSince = Number.POSITIVE_INFINITY;
      return stored;
    } catch (error) {
      if (isCairnError(error, "LOG_UNREACHABLE")) {
        this.#unansweredSince = Math.min(this.#unansweredSince, givenAt);
        this.#lastAt = systemClock.now();
      }
      throw error;
    } finally {
      this.#storing.delete(appending);
    }
  }

  /** Returns the time since the log last failed to store something (ms); undefined if it stored the last. */
  get quietMs(): number | undefined {
    const isStoring = this.#error === undefined && this.#unansweredSince === Number.POSITIVE_INFINITY;
    return isStoring ? undefined : systemClock.now() - this.#lastAt;
  }

  async observe<T>(submission: Promise<T>): Promise<T> {
    try {
      const stored = await submission;
      this.#note(undefined);
      return stored;
    } catch (error) {
      if (isCairnError(error) && LOG_REFUSALS.has(error.code)) this.#note(error);
      throw error;
    }
  }

  #note(error: CairnError | undefined): void {
    const known = this.#error;
    this.#error = error;
    if (error !== undefined) this.#lastAt = systemClock.now();
    if (known === undefined) this.#since = this.#lastAt;
    if (known?.code !== error?.code) this.onChange();
  }
}
