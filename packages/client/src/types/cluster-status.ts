import type { ChainValue, NodeStatus } from "./node-status.ts";
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
  /**
   * The transaction at which the histories of the nodes were compared, and what differs; null if fewer than two nodes
   * could be compared.
   */
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

/** A node of a cluster. */
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

/** Fields that nodes running earlier versions may not report. */
type Reported<T, K extends keyof T> = { readonly [P in K]?: T[P] | undefined };

type Checkpoints = NodeStatus["checkpoints"];

type LogBackup = NonNullable<NodeStatus["logBackup"]>;

/**
 * The part of a node's GET /status that other nodes pass on. Its fields have the same meaning as there. A node running
 * a later version may be in a phase that this version does not know.
 */
export interface PeerStatus {
  readonly version: string;
  readonly phase: string;
  readonly log: Pick<NodeStatus["log"], "name" | "id" | "lastTxId" | "reachable"> &
    Reported<NodeStatus["log"], "exists" | "firstTxId" | "location" | "warnings">;
  readonly index: Pick<NodeStatus["index"], "txId" | "txTime" | "documents" | "lag"> &
    Reported<NodeStatus["index"], "version" | "bytes" | "warning" | "lastScrub"> & {
      readonly divergence?:
        | (Pick<NonNullable<NodeStatus["index"]["divergence"]>, "code" | "message" | "from" | "state"> &
            Reported<NonNullable<NodeStatus["index"]["divergence"]>, "since" | "hint">)
        | null
        | undefined;
    };
  readonly join: Pick<NodeStatus["join"], "orphans"> &
    Reported<NodeStatus["join"], "replayed" | "readyAfterMs"> & {
      readonly restoredFrom: { readonly name: string } | null;
      readonly movedAside: readonly { readonly code: string; readonly message: string }[];
    };
  readonly progress: NodeStatus["progress"];
  readonly stalled?:
    | { readonly forMs: number; readonly message: string; readonly since?: string | undefined }
    | null
    | undefined;
  readonly checkpoints: {
    readonly last:
      | (Pick<NonNullable<Checkpoints["last"]>, "name" | "txId" | "takenAt"> &
          Reported<NonNullable<Checkpoints["last"]>, "bytes" | "ageMs">)
      | null;
    readonly lastVerified:
      | (Pick<NonNullable<Checkpoints["lastVerified"]>, "name" | "txId" | "verifiedAt"> &
          Reported<NonNullable<Checkpoints["lastVerified"]>, "node" | "ageMs">)
      | null;
    readonly lastSaved?:
      | ({ readonly at: string } & Reported<
          NonNullable<Checkpoints["lastSaved"]>,
          "name" | "txId" | "bytes" | "durationMs"
        >)
      | null
      | undefined;
  } & Reported<
    Checkpoints,
    | "approxFrequencyMs"
    | "lastDrill"
    | "lastCheckAt"
    | "nextCheckAt"
    | "running"
    | "skipped"
    | "warnings"
    | "lastFailure"
  >;
  readonly logBackup?:
    | ({
        readonly exposed: LogBackup["exposed"];
        readonly lastFailure: LogBackup["lastFailure"];
      } & Reported<LogBackup, "location" | "everyMs" | "segments" | "bytes" | "lastLookAt" | "warnings">)
    | null
    | undefined;
  readonly failure:
    | (Pick<NonNullable<NodeStatus["failure"]>, "code" | "message" | "hint"> &
        Reported<NonNullable<NodeStatus["failure"]>, "retries" | "nextTryAt">)
    | null;
  readonly resources?: NodeStatus["resources"] | undefined;
}
