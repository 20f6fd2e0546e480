import { CairnError, isCairnError } from "@cairn/kv";
import { retryPause } from "../retry-pause.ts";
import type { TxId } from "../tx-log/transaction.ts";
import type { CutoffReason, TransactionEvent } from "../watch/watch-event.ts";
import { readEventStream } from "./event-stream-reader.ts";
import { NoAnswerError, type NodeClient } from "./node-client.ts";

/** A transaction as a node sends it: documents in place of their text. */
export interface SentTransaction extends Omit<TransactionEvent, "type" | "changes"> {
  readonly changes: readonly (Omit<TransactionEvent["changes"][number], "json"> & {
    readonly document?: unknown;
  })[];
}

/** What any event has of these. */
interface SentFields extends SentTransaction {
  readonly ahead?: boolean;
  readonly reason?: CutoffReason;
  readonly message?: string;
}

/** What is followed, and how. */
export interface FollowWatchOptions {
  readonly bucket?: string | undefined;
  readonly namespace?: string | undefined;
  readonly from?: TxId | undefined;
  readonly signal: AbortSignal;
  /** Told why a node was left, before another one (or the same again) is asked. */
  readonly onLeft: (why: string, from: TxId | undefined) => void;
}

/** Nodes send heartbeats every 10 s: a connection on which nothing comes for longer than this is dead. */
const SILENCE_MS = 35_000;

/**
 * Every transaction from `from` on, once and in order, whichever of the nodes tells it: where one goes away the next is asked, from
 * where the last one came to. Ends when it is aborted. `WATCH_COMPACTED` where there is no going on.
 */
export async function* followWatch(
  nodes: readonly NodeClient[],
  options: FollowWatchOptions,
): AsyncGenerator<{ readonly transaction: SentTransaction; readonly json: string }, void> {
  const { signal, bucket, namespace, onLeft } = options;
  let from = options.from;
  let fromTime: string | undefined;
  let failures = 0;
  let answered = false;
  for (let turn = 0; !signal.aborted; turn += 1) {
    const node = nodes[turn % nodes.length];
    if (node === undefined) throw new Error("there is no node to watch");
    let left = "The node ended the watch";
    try {
      const query = { bucket, namespace, from: from?.toString(), "from-time": fromTime };
      const text = await node.stream({ path: "/api/v1/watch", query, silenceMs: SILENCE_MS, signal });
      answered = true;
      for await (const { event, data } of readEventStream(text)) {
        const told = JSON.parse(data) as SentFields;
        if (event === "cutoff") {
          left = told.message ?? left;
          if (told.reason === "regressed") throw new CairnError("WATCH_COMPACTED", left, { hint: LIST });
          break;
        }
        // One that waits for its beginning is behind where this one is.
        if (told.ahead === true) continue;
        ({ txId: from } = told);
        fromTime = told.txTime ?? undefined;
        failures = 0;
        if (event === "tx") yield { transaction: told, json: data };
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isWorthATry(error)) throw error;
      answered ||= !(error instanceof NoAnswerError);
      // Where nobody ever answered, the addresses are wrong rather than the nodes away.
      if (!answered && failures + 1 >= nodes.length) throw error;
      left = error.message;
    }
    if (signal.aborted) return;
    onLeft(`${left.replace(/\.$/, "")} (${node.url}).`, from);
    failures += 1;
    // Every node is asked once before any is asked again.
    if (failures >= nodes.length) await retryPause(failures - nodes.length, signal);
  }
}

const LIST = "List what is there now, then watch from the transaction that the list names.";

/** What another node, or the same one later, may answer otherwise. */
function isWorthATry(error: unknown): error is Error {
  return (
    error instanceof NoAnswerError || isCairnError(error, "NOT_READY") || isCairnError(error, "INDEX_CORRUPT")
  );
}
