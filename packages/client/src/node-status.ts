import type { TxId } from "./transaction.ts";

/** Where a node is in its life. `failed`: it stopped itself and says why in `failure`; health stays live, ready does not. */
export type Phase = "restoring" | "replaying" | "ready" | "stopping" | "failed";

/** A checkpoint as GET /api/v1/checkpoints lists it. */
export interface CheckpointSummary {
  readonly name: string;
  readonly txId: TxId;
  /** By the store's clock. */
  readonly takenAt: string;
  /** Of the archive. */
  readonly bytes: number;
  /** Who saved it. */
  readonly node: string;
  readonly logId: string;
  readonly documents: number;
}

/** A checkpoint that was read back, opened and found whole; `verifiedAt` by the store's clock, `digest` that of its content. */
export interface VerifiedSummary {
  readonly name: string;
  readonly txId: TxId;
  readonly verifiedAt: string;
  readonly node: string;
  readonly digest: string;
}

/**
 * What the two chains over a log are at a transaction, each 64 hexadecimal digits (docs/log-format.md): `history` stands for all messages
 * up to there, `effects` for what applying them came to. Equal values mean an equal past; effects are compared within one index version.
 */
export interface ChainValue {
  readonly txId: TxId;
  readonly history: string;
  readonly effects: string;
}

/** The newest value first, then those at links before it. */
export type Chains = readonly ChainValue[];

/** GET /status; docs/http.md explains each field. Null where there is none. */
export interface NodeStatus {
  readonly node: string;
  readonly version: string;
  readonly phase: Phase;
  readonly log: {
    /** Null until the log is open where the configuration does not say it. */
    readonly name: string | null;
    readonly id: string | null;
    readonly firstTxId: TxId | null;
    readonly lastTxId: TxId | null;
    /** Null before it was asked. */
    readonly reachable: boolean | null;
    /** False before it was begun and after it was deleted; null while that is not known. */
    readonly exists: boolean | null;
    /** What somebody should look at though the log goes on. */
    readonly warnings: readonly { readonly code: string; readonly message: string; readonly hint: string }[];
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
    /** Another node or a checkpoint has another past than this index, and it is not settled yet which is right. */
    readonly divergence: {
      readonly since: string;
      readonly code: string;
      readonly message: string;
      readonly hint: string;
      /** How many nodes and checkpoints it is from. */
      readonly from: number;
      /** What this node does about it: it compares its index with a rebuild, or waits for its turn. `open`: neither, now. */
      readonly state: "open" | "waiting" | "comparing";
    } | null;
    /** The last time since the node was started that all its tables were compared with their checksums and whole; `at` is its end. */
    readonly lastScrub: { readonly at: string; readonly durationMs: number; readonly bytes: number } | null;
    /** Its files were removed under the running node; left out where all is well. */
    readonly warning?: { readonly code: string; readonly message: string; readonly hint: string };
  };
  readonly join: {
    readonly restoredFrom: { readonly name: string; readonly store: string; readonly txId: TxId } | null;
    /** Newest first; `store` is where they lie. */
    readonly skipped: readonly {
      readonly name: string;
      readonly store: string;
      readonly code: string;
      readonly message: string;
    }[];
    /** Folders that hold an index that was moved aside at this start, with why. */
    readonly movedAside: readonly {
      readonly path: string;
      readonly code: string;
      readonly message: string;
    }[];
    /** Transactions that only indexes in `quarantine/` know, of any start; `cairn log orphans` prints them. */
    readonly orphans: number;
    readonly replayed: number;
    readonly readyAfterMs: number | null;
  };
  readonly progress: {
    readonly unit: "bytes" | "transactions" | "documents";
    readonly done: number;
    readonly total: number;
    readonly etaMs: number | null;
  } | null;
  /** Nothing has moved since `since`, though something is left to do; docs/operations.md says what each `waitingFor` means. */
  readonly stalled: {
    readonly phase: Phase;
    readonly txId: TxId;
    readonly since: string;
    readonly forMs: number;
    readonly waitingFor: "log" | "messages" | "store" | "files";
    /** A sentence. */
    readonly message: string;
  } | null;
  readonly checkpoints: {
    readonly last: {
      readonly name: string;
      readonly txId: TxId;
      readonly takenAt: string;
      readonly bytes: number;
      /** By the store's clock, as far as it is known; so is that of `lastVerified`. */
      readonly ageMs: number;
    } | null;
    /** The newest one that this node saved itself since it was started, and when, by its own clock. */
    readonly lastSaved: {
      readonly name: string;
      readonly txId: TxId;
      readonly bytes: number;
      readonly at: string;
      readonly durationMs: number;
    } | null;
    /** The newest verification of the log's checkpoints, by any node; `durationMs` is null where it was another one. */
    readonly lastVerified:
      | (VerifiedSummary & { readonly ageMs: number; readonly durationMs: number | null })
      | null;
    /** How the last verification that this node made itself since it was started ended; `name` is null where it failed: `message` says which. */
    readonly lastDrill: {
      readonly at: string;
      readonly durationMs: number;
      readonly outcome: "verified" | "failed";
      readonly name: string | null;
      readonly code: string | null;
      readonly message: string | null;
      readonly hint: string | null;
    } | null;
    readonly nextCheckAt: string | null;
    readonly running: { readonly startedAt: string; readonly step: string; readonly bytes: number } | null;
    /** What somebody should look at though checkpoints go on, each kind once. */
    readonly warnings: readonly {
      readonly at: string;
      readonly about: string;
      readonly message: string;
      readonly hint: string;
    }[];
    readonly lastFailure: {
      readonly at: string;
      readonly code: string;
      readonly message: string;
      readonly hint: string | null;
    } | null;
    /** What the store has found out about itself; null before that, and for stores that have nothing to find out. */
    readonly store: {
      readonly location: string;
      /** Whether of several who write one file only one can succeed. */
      readonly exclusive: boolean;
      readonly canDelete: boolean;
      /** Whether a part of a file can be read without the rest. */
      readonly ranges: boolean;
      /** Which checksums go with requests. */
      readonly checksums: string;
    } | null;
  };
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
}
