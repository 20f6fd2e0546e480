import type { CheckpointerOptions } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { Policies } from "@cairn/client";
import type { TxLog } from "../log/tx-log.ts";

/** What a node does when its log is not the one that its index was built from. `regressed`: same log id; `different`: another. */
export interface OnLogMismatch {
  readonly regressed: "rebuild" | "halt";
  readonly different: "rebuild" | "halt";
}

/** How a node trims its log. */
export interface TrimPolicy {
  /** Messages younger than this stay (ms). */
  readonly keep: number;
}

/** HTTP server parameters, validated. */
export interface HttpOptions {
  /** The address to listen at. */
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** What all requests but those of /health must carry; nothing is asked when left out. */
  readonly authToken?: string;
  /** Bytes. */
  readonly maxBody: number;
  /** Origins whose pages may ask, such as `https://dash.example`; none when left out. */
  readonly corsOrigins?: readonly string[];
  /** Names besides those of this machine that a request may be addressed to, where there is neither token nor outside address. */
  readonly allowedHosts?: readonly string[];
  /** How long a node that is told to stop goes on answering, while it says that it is not ready; milliseconds, 0 when left out. */
  readonly drainMs?: number;
}

/** A node's parts, made from its configuration and not yet started: nothing was opened, created or deleted. */
export interface System {
  readonly nodeId: string;
  /** `cairn/node` `dir`, absolute. */
  readonly dir: string;
  /** Opens the log; LOG_UNREACHABLE is worth trying again. */
  readonly openTxLog: (context: { readonly signal: AbortSignal }) => Promise<TxLog>;
  /** The log's name, where the configuration says it. */
  readonly logName?: string;
  readonly onLogMismatch: OnLogMismatch;
  /** Nothing is trimmed when left out. */
  readonly trim?: TrimPolicy;
  readonly kvProvider: KvProvider;
  /** Absolute; holds live/, staging/, capture/, quarantine/. */
  readonly dbDir: string;
  /** About how often all tables of the index are compared with their checksums while the node is ready (ms); never when left out. */
  readonly scrubEvery?: number;
  /** No checkpoints are saved, nor looked for, when undefined. */
  readonly checkpointer: CheckpointerOptions | undefined;
  /** Nothing is served when undefined. */
  readonly http: HttpOptions | undefined;
  /** To set where the log has none. */
  readonly policies?: Policies;
}
