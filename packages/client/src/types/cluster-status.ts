import type { ChainValue, Finding, NodeStatus, StatusVerdict } from "./node-status.ts";
import type { TxId } from "./transaction.ts";

/** The response to GET /status/cluster: all nodes of a log, and what needs attention. */
export interface ClusterStatus {
  /** The time at which the nodes were asked, by the clock of the node that asked them (ISO 8601). */
  readonly at: string;
  readonly askedBy: { readonly node: string; readonly instance: string };
  readonly verdict: StatusVerdict;
  /** The log; `id` and `lastTxId` are null if it does not exist or is not known yet. `name` is null until it is known. */
  readonly log: {
    readonly name: string | null;
    readonly id: string | null;
    readonly lastTxId: TxId | null;
  };
  /** All nodes that responded, whether they belong to this cluster or to another one whose log has the same name. */
  readonly nodes: readonly ClusterNode[];
  /** The nodes of this log that did not respond although other nodes have heard from them within the last hour. */
  readonly silent: readonly { readonly node: string; readonly instance: string; readonly forMs: number }[];
  /** The ids that several running nodes share. */
  readonly sameId: readonly string[];
  /** Where histories were compared, and what differs; null if fewer than two nodes could be compared. */
  readonly past: { readonly txId: TxId; readonly differ: "history" | "effects" | null } | null;
  /** Worst first. */
  readonly findings: readonly ClusterFinding[];
}

/** A finding about a node, or about the cluster if `node` is null. */
export interface ClusterFinding extends Finding {
  readonly node: string | null;
}

export interface ClusterNode {
  /** A random id that is generated at each start of a node. It distinguishes nodes with the same id. */
  readonly instance: string;
  readonly node: string;
  readonly host: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly status: PeerStatus;
  /** Whether the node has this cluster's log open; null if that is unknown. */
  readonly sameLog: boolean | null;
  /** The history of the node at the transaction at which the nodes were compared. */
  readonly past: ChainValue | null;
}

/** A node's GET /status. A node running a later version may be in a phase that this version does not know. */
export type PeerStatus = Omit<NodeStatus, "phase"> & { readonly phase: string };
