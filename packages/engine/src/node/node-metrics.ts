import type { Phase, NodeStatus, QueueStatus } from "@cairn/client";
import type { AppliedCounts } from "../index/index-store.ts";
import type { CutoffReason } from "../watch/watch-event.ts";
import type { NodeEventListener } from "../observe/node-event.ts";
import type { AnsweredRequest } from "../observe/resource-use.ts";

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
