import type { CheckpointStore, CheckpointerOptions } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { OwnIndexOptions, System, TxLog } from "@cairn/engine";

/** A function that opens a log. It is called for every attempt to reach the log. */
export interface TxLogOpener {
  (context: { readonly signal: AbortSignal }): Promise<TxLog>;
  /** The name of the log, if it is known before the log is open. */
  readonly logName?: string;
}

export interface ModuleParts {
  readonly "tx-log": TxLogOpener;
  readonly "kv-store": KvProvider;
  /** The checkpointer's options; without a store for checkpoints, the stores from which the node restores. */
  readonly checkpointer: CheckpointerOptions | RestoreOnly;
  readonly "checkpoint-store": CheckpointStore;
  /** Only a description: the index itself is created in its thread. */
  readonly index: Pick<OwnIndexOptions, "module" | "options" | "buckets">;
}

/** The checkpointer of a node that saves no checkpoints. */
export interface RestoreOnly {
  readonly store?: undefined;
  readonly restoreFrom: readonly CheckpointStore[];
}

export type ModuleKind = keyof ModuleParts;

type LogBackupOptions = NonNullable<System["logBackup"]>;

/** The values of every module of a kind that the node itself reads. */
export interface CommonValues {
  readonly "tx-log": Pick<System, "onLogMismatch" | "trim">;
  readonly "kv-store": {
    readonly dbDir: string;
    readonly scrubEvery: number | "never";
    readonly attach: boolean;
    readonly checkpointer?: ModuleUse<"checkpointer">;
  };
  readonly checkpointer: {
    readonly logBackup?: Omit<LogBackupOptions, "codec" | "keep"> & Partial<Pick<LogBackupOptions, "keep">>;
    readonly compression: LogBackupOptions["codec"];
    readonly waitForStore: number;
  };
  readonly "checkpoint-store": { readonly readOnly?: boolean; readonly [other: string]: unknown };
  readonly index: Pick<OwnIndexOptions, "version" | "ready" | "checkpoint" | "buckets">;
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
  /** Creates the part, once per context. Throws a `CONFIG_*` error if a user's module does not return a part. */
  create(context: ModuleContext): Promise<ModuleParts[K]>;
}

export const KIND_NAMES: Readonly<Record<ModuleKind, string>> = {
  "tx-log": "a transaction log",
  "kv-store": "a key-value store",
  checkpointer: "a checkpointer",
  "checkpoint-store": "a checkpoint store",
  index: "an index",
};
