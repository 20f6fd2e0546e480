import {
  type FollowedTransaction,
  followStream,
  LIST_FIRST,
  WatchEndedError,
  type WatchPosition,
} from "@cairn/client/protocol";
import type { TxId } from "@cairn/client";
import { backoffMs, systemClock } from "@cairn/checkpoint";
import { CairnError, isCairnError } from "@cairn/kv";
import type { NodeClient } from "./node-client.ts";
import { NoAnswerError } from "./node-connections.ts";

const PAUSES = { firstMs: 200, maxMs: 15_000 };

/** The changes to watch and where to begin. */
export interface FollowWatchOptions {
  readonly bucket?: string | undefined;
  readonly namespace?: string | undefined;
  /** The transaction after which to begin. Defaults to the current one. */
  readonly from?: TxId | undefined;
  readonly signal: AbortSignal;
  /** Called with the reason when a node is abandoned, before the next node (or the same one) is tried. */
  readonly onLeft: (reason: string, from: TxId | undefined) => void;
}

/**
 * Yields every transaction after `from`, once and in order. When a node becomes unreachable, the next node continues
 * after the last transaction that was received. Ends when `signal` is aborted. Throws `WATCH_COMPACTED` if no node can
 * continue, and the last error if no node has ever responded.
 */
export function followWatch(
  nodes: readonly [NodeClient, ...NodeClient[]],
  options: FollowWatchOptions,
): AsyncGenerator<FollowedTransaction<unknown>, void, void> {
  const { signal, bucket, namespace, onLeft } = options;
  let [node] = nodes;
  let answered = false;
  const open = async ({ from, fromTime }: WatchPosition): Promise<AsyncIterable<string>> => {
    const query = { bucket, namespace, from, "from-time": fromTime };
    const text = await node.stream({ path: "/api/v1/watch", query, signal });
    answered = true;
    return text;
  };
  const onEnd = async (reason: unknown, failures: number, from: TxId | undefined): Promise<void> => {
    if (reason instanceof WatchEndedError && reason.regressed) {
      throw new CairnError("WATCH_COMPACTED", reason.message, { hint: LIST_FIRST });
    }
    if (!mayContinue(reason)) throw reason;
    answered ||= !(reason instanceof NoAnswerError);
    // If no node has ever responded, the addresses are probably wrong.
    if (!answered && failures >= nodes.length) throw reason;
    onLeft(`${reason.message.replace(/\.$/, "")} (${node.url}).`, from);
    node = nodes[(nodes.indexOf(node) + 1) % nodes.length] ?? node;
    // The loop pauses only after every node has been tried.
    if (failures >= nodes.length) await systemClock.wait(backoffMs(failures - nodes.length, PAUSES), signal);
  };
  return followStream({ open, onEnd }, options);
}

/** Returns whether another node, or the same node later, may be able to continue. */
function mayContinue(reason: unknown): reason is Error {
  return (
    reason instanceof WatchEndedError ||
    reason instanceof NoAnswerError ||
    isCairnError(reason, "NOT_READY") ||
    isCairnError(reason, "INDEX_CORRUPT")
  );
}
