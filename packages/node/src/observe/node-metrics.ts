import type { Phase, NodeStatus, QueueStatus } from "@cairn/client";
import type { AppliedCounts } from "../index/index-store.ts";
import type { CutoffReason } from "../watch/watch-event.ts";
import type { NodeEventListener } from "./node-event.ts";

/** The functions are called once per array of messages rather than once per transaction. */
export interface FollowingMetrics {
  applied(counts: AppliedCounts, seconds: number): void;
  /** Counts each time that the node begins to read the log: at the start, and after each interruption. */
  reading(): void;
  /** Counts an error that interrupted joining or following. */
  left(code: string): void;
}

export interface WatchMetrics {
  opened(): void;
  closed(): void;
  cutOff(reason: CutoffReason): void;
}

/** A request with its response. `route` is the template, not the URL, because the number of keys and buckets is unlimited. */
export interface AnsweredRequest {
  readonly method: string;
  readonly route: string;
  /** Whether it reads or writes documents; undefined if it does neither. */
  readonly kind: "read" | "write" | undefined;
  readonly status: number;
  readonly seconds: number;
}

export interface ScrapeSources {
  readonly phase: Phase;
  status(): Promise<NodeStatus>;
  queues(): Promise<readonly QueueStatus[]>;
}

/** What counts a node's work, and reports it together with the node's state. */
export interface NodeMetrics {
  readonly following: FollowingMetrics;
  readonly watches: WatchMetrics;
  readonly onEvent: NodeEventListener;
  readonly onRequest: (request: AnsweredRequest) => void;
  readonly onBarrier: () => void;
  /** Returns Prometheus text. Omits sources that fail or respond too late. */
  text(sources: ScrapeSources): Promise<string>;
}
