import { backoffMs, systemClock } from "@cairn/checkpoint";
import { CairnError, isCairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import {
  type FollowedTransaction,
  followStream,
  SILENCE_MS,
  WatchEndedError,
  type WatchPlace,
} from "@cairn/client/streams";
import { NoAnswerError, type NodeClient } from "./node-client.ts";

const PAUSES = { firstMs: 200, maxMs: 15_000 };

/** What is followed, and how. */
export interface FollowWatchOptions {
  readonly bucket?: string | undefined;
  readonly namespace?: string | undefined;
  /** The transaction after which to begin; from now on when left out. */
  readonly from?: TxId | undefined;
  readonly signal: AbortSignal;
  /** Told why a node was left, before another one (or the same again) is asked. */
  readonly onLeft: (why: string, from: TxId | undefined) => void;
}

/**
 * Every transaction from `from` on, once and in order, whichever of the nodes tells it: where one goes away the next is asked, from
 * where the last one came to. Ends when it is aborted. `WATCH_COMPACTED` where there is no going on.
 */
export function followWatch(
  nodes: readonly [NodeClient, ...NodeClient[]],
  options: FollowWatchOptions,
): AsyncGenerator<FollowedTransaction<unknown>, void, void> {
  const { signal, bucket, namespace, onLeft } = options;
  let [node] = nodes;
  let answered = false;
  const open = async ({ from, fromTime }: WatchPlace): Promise<AsyncIterable<string>> => {
    const query = { bucket, namespace, from: from?.toString(), "from-time": fromTime };
    const text = await node.stream({ path: "/api/v1/watch", query, silenceMs: SILENCE_MS, signal });
    answered = true;
    return text;
  };
  const left = async (why: unknown, failures: number, from: TxId | undefined): Promise<void> => {
    if (why instanceof WatchEndedError && why.regressed) {
      throw new CairnError("WATCH_COMPACTED", why.message, { hint: LIST });
    }
    if (!isWorthATry(why)) throw why;
    answered ||= !(why instanceof NoAnswerError);
    // Where nobody ever answered, the addresses are wrong rather than the nodes away.
    if (!answered && failures >= nodes.length) throw why;
    onLeft(`${why.message.replace(/\.$/, "")} (${node.url}).`, from);
    node = nodes[(nodes.indexOf(node) + 1) % nodes.length] ?? node;
    // Every node is asked once before any is asked again.
    if (failures >= nodes.length) await systemClock.wait(backoffMs(failures - nodes.length, PAUSES), signal);
  };
  return followStream({ open, left }, options);
}

const LIST = "List what is there now, then watch from the transaction that the list names.";

/** What another node, or the same one later, may answer otherwise. */
function isWorthATry(why: unknown): why is Error {
  return (
    why instanceof WatchEndedError ||
    why instanceof NoAnswerError ||
    isCairnError(why, "NOT_READY") ||
    isCairnError(why, "INDEX_CORRUPT")
  );
}
