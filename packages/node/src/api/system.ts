import type { CheckpointerOptions, CheckpointStore } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { Policies } from "@cairn/client";
import type { LogBackupOptions } from "../backup/write/log-backup.ts";
import type { TxLog } from "../log/tx-log.ts";

/**
 * The reaction of a node to a log other than the one from which its index was built. `regressed` applies if the log ids
 * are equal, `different` if they differ.
 */
export interface OnLogMismatch {
  readonly regressed: "rebuild" | "halt";
  readonly different: "rebuild" | "halt";
}

/** The policy by which a node trims its log. */
export interface TrimPolicy {
  /** The age in milliseconds below which messages are kept. */
  readonly keep: number;
}

/** The parameters of a log backup, as configured. */
export type LogBackupParameters = Omit<LogBackupOptions, "keep"> & Partial<Pick<LogBackupOptions, "keep">>;

/** The parameters of the HTTP server, validated. */
export interface HttpOptions {
  /** The address to listen on. */
  readonly host: string;
  /** The port to listen on; 0 means any free port. */
  readonly port: number;
  /** The token that all requests except those to /health must have; none is required by default. */
  readonly authToken?: string;
  /** The largest request body in bytes. */
  readonly maxBody: number;
  /** Origins whose pages may send requests, such as `https://dash.example`; none by default. */
  readonly corsOrigins?: readonly string[];
  /** Host names, besides those of this machine, to which requests may be addressed without a token on a local address. */
  readonly allowedHosts?: readonly string[];
  /** How long a stopping node still responds while it reports that it is not ready, in milliseconds; 0 by default. */
  readonly drainMs?: number;
}

/**
 * The parts of a node, created from its configuration but not yet started: nothing has been opened, created or deleted.
 */
export interface System {
  readonly nodeId: string;
  /** The `dir` of `cairn/node`, absolute. */
  readonly dir: string;
  /** Opens the log. After LOG_UNREACHABLE another attempt may succeed. */
  readonly openTxLog: (context: { readonly signal: AbortSignal }) => Promise<TxLog>;
  /** The log's name, if the configuration contains it. */
  readonly logName?: string;
  readonly onLogMismatch: OnLogMismatch;
  /** The policy for trimming the log; without it nothing is trimmed. */
  readonly trim?: TrimPolicy;
  readonly kvProvider: KvProvider;
  /** The db-dir, absolute. */
  readonly dbDir: string;
  /** The period of scrubs in milliseconds; without it there are no scrubs. */
  readonly scrubEvery?: number;
  /** If undefined, no checkpoints are saved. */
  readonly checkpointer: CheckpointerOptions | undefined;
  /** The stores from which a node without a checkpointer restores; none by default. Never written to. */
  readonly restoreFrom?: readonly CheckpointStore[];
  /** If undefined, the log is not backed up. Needs a checkpointer. */
  readonly logBackup?: LogBackupOptions;
  /** If undefined, there is no HTTP server. */
  readonly http: HttpOptions | undefined;
  /** Policies to set if the log has none. */
  readonly policies?: Policies;
}
