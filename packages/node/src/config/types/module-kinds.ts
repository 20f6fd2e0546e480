import type { CheckpointStore, CheckpointerOptions } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { TxLog } from "../../log/tx-log.ts";
import type { LogBackupParameters, OnLogMismatch, TrimPolicy } from "../../api/system.ts";

/** A function that opens a log. It is called for every attempt to reach the log. */
export interface TxLogOpener {
  (context: { readonly signal: AbortSignal }): Promise<TxLog>;
  /** The name of the log, if it is known before the log is open. */
  readonly logName?: string;
}

export interface ModuleParts {
  readonly "tx-log": TxLogOpener;
  readonly "kv-store": KvProvider;
  /**
   * The checkpointer's options or, if there is no store in which to save checkpoints, the stores from which the node
   * restores.
   */
  readonly checkpointer: CheckpointerOptions | RestoreOnly;
  readonly "checkpoint-store": CheckpointStore;
}

/** The checkpointer of a node that saves no checkpoints. */
export interface RestoreOnly {
  readonly store?: undefined;
  readonly restoreFrom: readonly CheckpointStore[];
}

export type ModuleKind = keyof ModuleParts;

/** Every module of a kind has these because the node itself reads them. The names are those in the configuration. */
export interface CommonValues {
  readonly "tx-log": {
    readonly "on-log-mismatch": OnLogMismatch;
    readonly trim: TrimPolicy | undefined;
  };
  readonly "kv-store": {
    readonly "db-dir": string | undefined;
    readonly "scrub-every": number | "never";
    readonly checkpointer: ModuleUse<"checkpointer"> | undefined;
  };
  readonly checkpointer: { readonly "log-backup"?: LogBackupParameters };
  readonly "checkpoint-store": { readonly "read-only?"?: boolean };
}

/** Each system has one such object, which identifies the parts of shared modules. */
export interface ModuleContext {
  readonly nodeId: string;
  /** The `dir` of `cairn/node`, absolute. */
  readonly dir: string;
  /** The kv-store's `db-dir`, absolute. */
  readonly dbDir: string;
  /** Reports a notice (a sentence) to the operator. */
  readonly onNotice: (sentence: string) => void;
}

export interface ModuleUse<K extends ModuleKind> {
  readonly kind: K;
  /** The module's id, or the import specifier of a user's module. */
  readonly id: string;
  readonly common: CommonValues[K];
  /**
   * Creates the part, or returns the one that was already created in this context. Throws a `CONFIG_*` error if a
   * user's module does not return a part.
   */
  create(context: ModuleContext): Promise<ModuleParts[K]>;
}

/** The names of the kinds in sentences. */
export const KIND_NAMES: Readonly<Record<ModuleKind, string>> = {
  "tx-log": "a transaction log",
  "kv-store": "a key-value store",
  checkpointer: "a checkpointer",
  "checkpoint-store": "a checkpoint store",
};
