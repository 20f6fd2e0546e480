import type { TxId } from "./transaction.ts";

/** The response to GET /status/log: the log of a node, and how far it may be trimmed. */
export interface LogOverview {
  readonly name: string | null;
  readonly id: string | null;
  /** The addresses of its servers, or its folder. */
  readonly location: string | null;
  /** Null if the log is empty. */
  readonly firstTxId: TxId | null;
  readonly lastTxId: TxId | null;
  /** The result of planning a trim now; null if the node has no checkpointer, or if its log cannot be trimmed. */
  readonly trim: {
    /** Whether this node trims the log by itself. Otherwise, `cairn log trim` does it. */
    readonly automatic: boolean;
    /** The last transaction that may be removed; null if none may. */
    readonly upTo: TxId | null;
    /** The reason, as a sentence. */
    readonly because: string;
    /** The checkpoint that replaces the removed transactions. */
    readonly checkpoint: string | null;
  } | null;
}
