import type { TxId } from "./transaction.ts";

/**
 * The phase of a node's life. In the phase `failed`, the node has stopped its work for the reason in `failure`: it is
 * live but not ready.
 */
export type Phase = "restoring" | "replaying" | "ready" | "stopping" | "failed";

/** A checkpoint, as POST /api/v1/checkpoints returns it. */
export interface CheckpointSummary {
  readonly name: string;
  readonly txId: TxId;
  /** The time at which the checkpoint was taken, by the store's clock. */
  readonly takenAt: string;
  readonly bytes: number;
  readonly node: string;
  readonly logId: string;
  readonly documents: number;
  /** Present if a node or command read the checkpoint back and found it damaged. */
  readonly damaged?: true;
}

/** A checkpoint as listed by GET /api/v1/checkpoints. */
export interface ListedCheckpoint extends CheckpointSummary {
  /** The time from the beginning of the save to its manifest. */
  readonly durationMs: number;
  /** The time of the last successful verification by the store's clock, and the node that performed it; null if there is none. */
  readonly verifiedAt: string | null;
  readonly verifiedBy: string | null;
  /**
   * Whether the next sweep by this node's retention policy keeps the checkpoint, and why, as a sentence. Null if the
   * checkpoint belongs to another log.
   */
  readonly kept: { readonly keep: boolean; readonly because: string } | null;
}

/**
 * A checkpoint that was read back, opened and verified at `verifiedAt` by the store's clock. `digest` is the digest of
 * its content.
 */
export interface VerifiedSummary {
  readonly name: string;
  readonly txId: TxId;
  readonly verifiedAt: string;
  readonly node: string;
  readonly digest: string;
}

/**
 * The values of a log's two chains at a transaction, each of 64 hexadecimal digits (docs/internals/log-format.md).
 * `history` covers all messages up to the transaction, and `effects` covers the results of applying them. Equal values
 * mean an equal history. Effects can be compared only within one index version.
 */
export interface ChainValue {
  readonly txId: TxId;
  readonly history: string;
  readonly effects: string;
}

/** The chain values: first the newest, then those at earlier links. */
export type Chains = readonly ChainValue[];

/** An error, and what to do about it. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

/** A problem that needs attention although everything works. */
export type Warning = Failure & { readonly hint: string };

/**
 * Something that an operator should know. docs/metrics.md lists the codes. `failing` means that something does not work
 * now, and `attention` that something will go wrong unless it is dealt with. A `notice` needs no action soon, and does
 * not affect the verdict.
 */
export interface Finding {
  readonly code: string;
  readonly severity: "failing" | "attention" | "notice";
  /** The time since which this has been so (ISO 8601), if it is known. */
  readonly since: string | null;
  /** The code of the underlying error, if there is one. */
  readonly error: string | null;
  readonly message: string;
  /** What waiting costs, in the words that follow "Meanwhile,". */
  readonly meanwhile: string;
  readonly hint: string | null;
}

/** The state of a node or a cluster in one sentence, which the worst finding decides. */
export interface StatusVerdict {
  readonly state: "healthy" | "not-ready" | "attention" | "failing";
  readonly message: string;
  readonly hint: string | null;
}

/**
 * An index of one's own. It is built from the documents, then goes on from its position: `behind` until it has what the
 * node's index has, `live` afterwards. `failed` lasts until the next attempt.
 */
export interface OwnIndexStatus {
  readonly name: string;
  readonly version: number;
  readonly state: "building" | "behind" | "live" | "failed";
  /** The transaction as of which it is; null until it has been built. */
  readonly txId: TxId | null;
  /** The version that answers queries: the one before while this one is built for the first time. Null if there is none. */
  readonly served: number | null;
  /** The number of documents that the build has reached; null unless it is being built. */
  readonly built: number | null;
  readonly failure: (Failure & { readonly since: string; readonly nextTryAt: string }) | null;
}

/** The response to GET /status. docs/http.md explains each field. Null means that there is no value. */
export interface NodeStatus {
  readonly node: string;
  readonly version: string;
  readonly phase: Phase;
  readonly verdict: StatusVerdict;
  /** Worst first. */
  readonly findings: readonly Finding[];
  readonly log: {
    /** The name of the log; null until the log is open, unless the configuration names it. */
    readonly name: string | null;
    /** The addresses of its servers, or its folder; null until the log is open. */
    readonly location: string | null;
    readonly id: string | null;
    readonly firstTxId: TxId | null;
    readonly lastTxId: TxId | null;
    /** Whether the log responds and, after an interruption, is known to be the same; null before the first attempt. */
    readonly reachable: boolean | null;
    /** Whether the log exists: false before its creation and after its deletion; null while unknown. */
    readonly exists: boolean | null;
    /**
     * The backup from which the node reads the log: its store, the time at which its newest segment was written (by the
     * store's clock), and the age of that segment. Null if the node reads the log itself.
     */
    readonly backup: {
      readonly location: string;
      readonly newestSegmentAt: string | null;
      readonly ageMs: number | null;
    } | null;
    /** Why the log refused the last transaction that was submitted to this node; null once it accepts them again. */
    readonly refused: (Failure & { readonly since: string }) | null;
    readonly warnings: readonly Warning[];
  };
  /** `txId`, `documents` and `bytes` are null while no index is open. */
  readonly index: {
    readonly txId: TxId | null;
    readonly txTime: string | null;
    readonly documents: number | null;
    readonly bytes: number | null;
    readonly version: number;
    readonly lag: number | null;
    readonly chains: Chains;
    /**
     * Present if another node or a checkpoint has a different history from this index, and it is not yet known which
     * one is correct.
     */
    readonly divergence:
      | (Warning & {
          readonly since: string;
          /** The number of nodes and checkpoints with a different history. */
          readonly from: number;
          /** Whether this node compares its index with a rebuild, waits for its turn, or does neither (`open`). */
          readonly state: "open" | "waiting" | "comparing";
        })
      | null;
    /** The last scrub since the node's start that found every table intact. `at` is the time at which it ended. */
    readonly lastScrub: { readonly at: string; readonly durationMs: number; readonly bytes: number } | null;
    /** Present if files of the index were removed under the running node. */
    readonly warning?: Warning;
  };
  readonly join: {
    readonly restoredFrom: { readonly name: string; readonly store: string; readonly txId: TxId } | null;
    /**
     * Skipped checkpoints, newest first, but only the first few of each store and error code. `store` is the location of
     * their store. `others` is the number of those that are not listed, at the last that is; otherwise 0. Nodes of earlier
     * versions list all of them, without it.
     */
    readonly skipped: readonly (Omit<Failure, "hint"> & {
      readonly name: string;
      readonly store: string;
      readonly others: number;
    })[];
    /** Folders of indexes that were moved aside at this start, with the reasons. */
    readonly movedAside: readonly (Omit<Failure, "hint"> & { readonly path: string; readonly at: string })[];
    /**
     * The number of transactions that only indexes in `quarantine/` contain, whenever they were moved there. `cairn log
     * orphans` prints them.
     */
    readonly orphans: number;
    /**
     * Folders of indexes in `quarantine/` that may hold transactions that the log lost, which nothing has shown yet: they
     * cannot be read, or are of a log that this one does not continue.
     */
    readonly uncompared: readonly string[];
    readonly replayed: number;
    readonly readyAfterMs: number | null;
  };
  readonly progress: {
    readonly unit: "bytes" | "transactions" | "documents";
    readonly done: number;
    readonly total: number;
    readonly etaMs: number | null;
  } | null;
  /**
   * The checkpoint from which the node serves stale reads while it restores it: as of this transaction. `requests` and
   * `bytes` count what these reads fetched from the store.
   */
  readonly attached: {
    readonly checkpoint: string;
    readonly txId: TxId;
    readonly txTime: string;
    readonly takenAt: string;
    readonly requests: number;
    readonly bytes: number;
  } | null;
  /** The indexes of one's own (docs/own-indexes.md); none until the node has caught up with its log. */
  readonly ownIndexes: readonly OwnIndexStatus[];
  /**
   * Present if there has been no progress since `since`, although work remains. docs/monitoring.md explains each value
   * of `waitingFor`.
   */
  readonly stalled: {
    readonly phase: Phase;
    readonly txId: TxId;
    readonly since: string;
    readonly forMs: number;
    readonly waitingFor: "log" | "messages" | "store" | "files";
    /** The explanation, as a sentence. */
    readonly message: string;
  } | null;
  readonly checkpoints: {
    readonly last:
      | (Pick<CheckpointSummary, "name" | "txId" | "takenAt" | "bytes"> & {
          /** The age by the store's clock if the clock is known, as in `lastVerified`. */
          readonly ageMs: number;
        })
      | null;
    /** The newest checkpoint that this node has saved since its start. `at` is by the node's clock. */
    readonly lastSaved:
      | (Pick<CheckpointSummary, "name" | "txId" | "bytes"> & {
          readonly at: string;
          readonly durationMs: number;
        })
      | null;
    /**
     * The newest verification for this log that this node knows of: by any node if it has `verify-every`, and otherwise
     * its own. `durationMs` is null if another node performed it.
     */
    readonly lastVerified:
      | (VerifiedSummary & { readonly ageMs: number; readonly durationMs: number | null })
      | null;
    /**
     * This node's last verification since its start. If it failed, `name` is null and `message` names the checkpoint.
     */
    readonly lastDrill: {
      readonly at: string;
      readonly durationMs: number;
      readonly outcome: "verified" | "failed";
      readonly name: string | null;
      readonly code: string | null;
      readonly message: string | null;
      readonly hint: string | null;
    } | null;
    /** The time of the last successful look at the store; null before the first look. */
    readonly lastCheckAt: string | null;
    readonly nextCheckAt: string | null;
    /** The approximate interval at which the cluster saves a checkpoint (ms); null if the node has no checkpointer. */
    readonly approxFrequencyMs: number | null;
    /** The node's stores: first the one in which it saves, if it saves, and then the others from which it restores. */
    readonly locations: readonly string[];
    readonly running: { readonly startedAt: string; readonly step: string; readonly bytes: number } | null;
    /**
     * The reason why the node's last round saved nothing. It is null if the round saved or failed, and before the first
     * round. `because` is a sentence.
     */
    readonly skipped: {
      readonly at: string;
      readonly reason: "empty" | "unchanged" | "recent" | "leased";
      readonly because: string;
    } | null;
    /** Problems that need attention although checkpoints are being saved. There is at most one of each kind. */
    readonly warnings: readonly (Omit<Warning, "code"> & { readonly at: string; readonly about: string })[];
    readonly lastFailure: (Failure & { readonly at: string }) | null;
    /** The capabilities that the store has detected. Null before the detection, and for stores that detect nothing. */
    readonly store: {
      readonly location: string;
      /** Whether only one of several concurrent writers of a file can succeed. */
      readonly exclusive: boolean;
      readonly canDelete: boolean;
      /** Which checksums requests carry. */
      readonly checksums: string;
    } | null;
  };
  /** The backup of the log in the checkpoint store, as of this node's last look; null unless the node writes one and is ready. */
  readonly logBackup: LogBackupStatus | null;
  readonly failure:
    | (Failure & {
        /** Whether the node tries again by itself. False once it has halted. */
        readonly retries: boolean;
        /**
         * The time of the next attempt. Null while an attempt is running, while the node waits for its log or store to
         * change, and once it has halted.
         */
        readonly nextTryAt: string | null;
      })
    | null;
  readonly resources: NodeResources;
}

export interface NodeResources {
  readonly uptimeMs: number;
  /** The memory of the process that is in physical memory. */
  readonly memoryBytes: number;
  /** The processor time that the process has used since its start, of all its threads. */
  readonly processorMs: number;
  /** The space on the disk of `db-dir` that this user may still use, and its size; null if the system does not report it. */
  readonly diskFreeBytes: number | null;
  readonly diskTotalBytes: number | null;
}

export interface LogBackupStatus {
  readonly location: string;
  /** The approximate interval at which the cluster writes a segment (ms). */
  readonly everyMs: number;
  /** The last 10 runs of transactions that the backup contains without a hole; null before the first look. */
  readonly covered: readonly { readonly first: TxId; readonly last: TxId }[] | null;
  readonly segments: number | null;
  readonly bytes: number | null;
  /**
   * What would be lost with the log's servers now: the number of transactions in this node's index that were not in the
   * backup at this node's last look, and the time since which there have been such transactions: when the log stored the
   * oldest one, or, if that is later, when this node last found that none was missing. Null while this is unknown, that
   * is, before the first look and after the log has lost its end.
   */
  readonly exposed: { readonly transactions: number | null; readonly since: string | null };
  /** The time at which the last successful look ended. */
  readonly lastLookAt: string | null;
  readonly nextLookAt: string | null;
  /** The number of looks that have failed since the last successful one. */
  readonly failedLooks: number;
  /** This node's writes to the backup since it became ready. */
  readonly written: { readonly segments: number; readonly bytes: number };
  /** Unreadable segments, and other findings of the last look. */
  readonly warnings: readonly Warning[];
  /** The error of the last look, and the time of the first look that failed since one succeeded; null if it succeeded. */
  readonly lastFailure: (Failure & { readonly since: string }) | null;
}
