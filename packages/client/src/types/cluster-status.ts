import type { ChainValue, LogBackupStatus, NodeStatus } from "./node-status.ts";
import type { TxId } from "./transaction.ts";

/** The response to GET /status/cluster: all nodes of a log, and what needs attention. */
export interface ClusterStatus {
  /** The time at which the nodes were asked, by the clock of the node that asked them (ISO 8601). */
  readonly at: string;
  readonly askedBy: { readonly node: string; readonly instance: string };
  readonly verdict: ClusterVerdict;
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

/**
 * The state of a cluster in one sentence. The worst finding decides: `failing` means that something does not work now,
 * and `attention` that something will go wrong unless it is dealt with.
 */
export interface ClusterVerdict {
  readonly state: "well" | "attention" | "failing";
  readonly message: string;
  readonly hint: string | null;
}

/** Something that an operator should know about a node, or about the cluster if `node` is null. */
export interface ClusterFinding {
  /** A `notice` needs no action soon, and does not affect the verdict. */
  readonly severity: "failing" | "attention" | "notice";
  readonly node: string | null;
  readonly code: string | null;
  readonly message: string;
  readonly hint: string | null;
  /** The time since which this has been so (ISO 8601), if it is known. */
  readonly since: string | null;
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
  readonly past: (ChainValue & { readonly version: number }) | null;
}

type Checkpoints = NodeStatus["checkpoints"];

/**
 * The part of a node's GET /status that other nodes pass on. Its fields have the same meaning as there. A node running
 * a later version may be in a phase that this version does not know.
 */
export interface PeerStatus {
  readonly version: string;
  readonly phase: string;
  readonly log: Omit<NodeStatus["log"], "backup">;
  readonly index: Omit<NodeStatus["index"], "chains">;
  readonly join: Pick<NodeStatus["join"], "orphans" | "replayed" | "readyAfterMs"> & {
    readonly restoredFrom: { readonly name: string } | null;
    readonly movedAside: readonly { readonly code: string; readonly message: string }[];
  };
  readonly progress: NodeStatus["progress"];
  readonly stalled: { readonly since: string; readonly forMs: number; readonly message: string } | null;
  readonly checkpoints: Omit<Checkpoints, "store" | "lastVerified"> & {
    readonly lastVerified: Pick<
      NonNullable<Checkpoints["lastVerified"]>,
      "name" | "txId" | "verifiedAt" | "node" | "ageMs"
    > | null;
  };
  readonly logBackup: Omit<LogBackupStatus, "covered" | "nextLookAt" | "failedLooks" | "written"> | null;
  readonly failure: NodeStatus["failure"];
  readonly resources: NodeStatus["resources"];
}
