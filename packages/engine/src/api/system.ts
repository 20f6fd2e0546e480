import type { CheckpointerOptions, CheckpointStore } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { Policies } from "@cairn/client";
import type { Right } from "@cairn/client/protocol";
import type { LogBackupOptions } from "../backup/write/log-backup.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { OwnIndexOptions } from "../own-indexes/own-index.ts";

/** `regressed` applies if the log has the id of the log from which the index was built, and `different` if not. */
export interface OnLogMismatch {
  readonly regressed: "rebuild" | "halt";
  readonly different: "rebuild" | "halt";
}

/** The values that a token may have. Other characters cannot be sent in the header Authorization. */
export const TOKEN_PATTERN = /^[\u0021-\u007E]+$/;

export interface TokenOptions {
  /** The name that the log records with each transaction of the token. `auth-token` has none. */
  readonly name?: string;
  /** The value, the file that contains it, or the environment variable with its value, which may be unset. */
  readonly source:
    | { readonly text: string }
    | { readonly file: string }
    | { readonly env: string; readonly text: string | undefined };
  readonly rights: readonly Right[];
  /** The only buckets to which the rights apply. Defaults to all. */
  readonly buckets?: readonly string[];
}

export interface HttpOptions {
  readonly host: string;
  /** The port on which the server listens. 0 means any free port. */
  readonly port: number;
  /** The tokens of which all requests except those to /health must have one. By default, none is required. */
  readonly tokens?: readonly TokenOptions[];
  /** The files for TLS. Every client must have a certificate of an authority in `clientCa`, if it is set. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** The largest request body in bytes. */
  readonly maxBody: number;
  /** The origins whose pages may send requests, such as `https://dash.example`. Defaults to none. */
  readonly corsOrigins?: readonly string[];
  /** The host names beyond this machine's that requests without a token may use if the server listens locally. */
  readonly allowedHosts?: readonly string[];
  /** How long (ms) a stopping node still responds while it reports that it is not ready. Defaults to 0. */
  readonly drainMs?: number;
  /** How far (ms) a ready node may lag behind its log before health checks fail. By default, they do not look. */
  readonly readyMaxLagMs?: number;
  /** Whether the server serves the page at `/`. Defaults to true. */
  readonly page?: boolean;
}

/** How long a node without an index waits for a store, unless configured (ms): a short outage causes no full replay. */
export const WAIT_FOR_STORE_MS = 600_000;

/** A node's parts, created from its configuration but not started: nothing has been opened, created or deleted. */
export interface System {
  readonly nodeId: string;
  /** The absolute path of `dir` in `cairn/node`. */
  readonly dir: string;
  /** Returns the command line that runs a command with this configuration, from any folder of this machine. */
  readonly commandLine: (command: string) => string;
  /** Opens the log. After LOG_UNREACHABLE, another attempt may succeed. */
  readonly openTxLog: (context: { readonly signal: AbortSignal }) => Promise<TxLog>;
  /** The log's name, if the configuration contains it. */
  readonly logName?: string;
  readonly onLogMismatch: OnLogMismatch;
  /** The age (ms) below which messages of the log are kept. If absent, the log is not trimmed. */
  readonly trim?: { readonly keep: number };
  readonly kvProvider: KvProvider;
  /** The absolute path of the db-dir. */
  readonly dbDir: string;
  /** The period of scrubs in milliseconds. If absent, there are no scrubs. */
  readonly scrubEvery?: number;
  /** The options of the checkpointer. If undefined, no checkpoints are saved. */
  readonly checkpointer: CheckpointerOptions | undefined;
  /** The stores from which a node without a checkpointer restores. Defaults to none. The node never writes to them. */
  readonly restoreFrom?: readonly CheckpointStore[];
  /** Whether a joining node serves stale reads from the checkpoint that it restores. Defaults to true. */
  readonly attach?: boolean;
  /** How long (ms) a node without an index waits for a store that cannot be read. Defaults to {@link WAIT_FOR_STORE_MS}. */
  readonly waitForStoreMs?: number;
  /** The options of the log backup, which requires a checkpointer. If undefined, the log is not backed up. */
  readonly logBackup?: LogBackupOptions;
  /** The options of the HTTP server. If undefined, there is none. */
  readonly http: HttpOptions | undefined;
  /** The policies that are set if the log has none. */
  readonly policies?: Policies;
  /** The indexes of one's own (docs/own-indexes.md). Defaults to none. */
  readonly ownIndexes?: readonly OwnIndexOptions[];
}
