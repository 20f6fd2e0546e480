import type { CheckpointerOptions } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { Policies } from "@cairn/client";
import type { TxLog } from "../log/tx-log.ts";

/** What a node does if its log is not the one that its index was built from: `regressed` for the same log id, `different` for another. */
export interface OnLogMismatch {
  readonly regressed: "rebuild" | "halt";
  readonly different: "rebuild" | "halt";
}

/** How a node trims its log. */
export interface TrimPolicy {
  /** Messages younger than this are kept (ms). */
  readonly keep: number;
}

/** HTTP server parameters, validated. */
export interface HttpOptions {
  /** The address to listen on. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Optional; the token that all requests except those of /health must have. */
  readonly authToken?: string;
  /** The largest request body in bytes. */
  readonly maxBody: number;
  /** Origins whose pages may send requests, such as `https://dash.example`; defaults to none. */
  readonly corsOrigins?: readonly string[];
  /** Host names, besides those of this machine, that requests may be addressed to without a token on a local address. */
  readonly allowedHosts?: readonly string[];
  /** How long a stopping node still answers while it reports that it is not ready (ms); defaults to 0. */
  readonly drainMs?: number;
}

/** The parts of a node, made from its configuration and not yet started: nothing was opened, created or deleted. */
export interface System {
  readonly nodeId: string;
  /** `dir` of `cairn/node`, absolute. */
  readonly dir: string;
  /** Opens the log. After LOG_UNREACHABLE another try may succeed. */
  readonly openTxLog: (context: { readonly signal: AbortSignal }) => Promise<TxLog>;
  /** The log's name, if the configuration has it. */
  readonly logName?: string;
  readonly onLogMismatch: OnLogMismatch;
  /** Optional; without it nothing is trimmed. */
  readonly trim?: TrimPolicy;
  readonly kvProvider: KvProvider;
  /** The db-dir, absolute. */
  readonly dbDir: string;
  /** The period of scrubs (ms); without it there are none. */
  readonly scrubEvery?: number;
  /** If undefined, checkpoints are neither saved nor restored. */
  readonly checkpointer: CheckpointerOptions | undefined;
  /** If undefined, there is no HTTP server. */
  readonly http: HttpOptions | undefined;
  /** Policies to set if the log has none. */
  readonly policies?: Policies;
}
