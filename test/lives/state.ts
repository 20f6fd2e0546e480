import type { Picks } from "@cairn/test-support/seeded-random";
import type { Follower } from "./follower.ts";
import type { Operator } from "./hints.ts";
import type { LifeCluster } from "./life-cluster.ts";
import type { Model } from "./model.ts";
import type { Writer } from "./writing.ts";

/** A copy of a place, and the last transaction of the log at that time. */
export interface Copy {
  readonly folder: string;
  readonly at: number;
}

/** The state of one life. */
export interface Life {
  readonly cluster: LifeCluster;
  readonly model: Model;
  readonly writer: Writer;
  readonly operator: Operator;
  readonly follower: Follower;
  /** Copies of the log, oldest first. */
  readonly logs: Copy[];
  /** Copies of the folder of an embedded node, with its log. */
  readonly machines: Copy[];
  /** Copies of nodes' folders. */
  readonly indexes: Map<string, string>;
  /** Whether something that the log has lost is still only in quarantine, because the operator has postponed it. */
  isPending: boolean;
  /** Choices of the current step. */
  picks: Picks;
}
