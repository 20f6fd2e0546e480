import { CairnClientError, unreachable } from "./types/client-error.ts";
import type {
  ClientFollowQuery,
  ClientStates,
  ClientTransaction,
  ClientWatchQuery,
} from "./types/client-types.ts";
import {
  followEvents,
  followStream,
  SILENCE_MS,
  type WatchedNodes,
  WatchEndedError,
} from "./follow-stream.ts";
import { isTransient, type NodePool, type PoolRequest } from "./node-pool.ts";
import type { Json } from "./types/transaction.ts";
import { retryPauseMs, startTimer, wait } from "./types/timing.ts";

/**
 * Yields every transaction after `from`, once and in the order of the log. When the connection breaks, or the node
 * moves its index aside, another node continues from exactly that point. Ends when the signal is aborted. Throws
 * `WATCH_COMPACTED` if the requested history has been pruned.
 */
export async function* watchOverHttp(
  pool: NodePool,
  query: ClientWatchQuery,
): AsyncGenerator<ClientTransaction, void, void> {
  const nodes = watchedNodes(pool, "/api/v1/watch", query);
  for await (const { transaction } of followStream<Json>(nodes, query)) yield transaction;
}

/** Yields the states of documents, across nodes and connections. Ends when the signal is aborted. */
export async function* followOverHttp(
  pool: NodePool,
  query: ClientFollowQuery,
): AsyncGenerator<ClientStates, void, void> {
  const nodes = watchedNodes(pool, "/api/v1/follow", query);
  for await (const { event, fields } of followEvents(nodes, query))
    if (event === "states") yield { ...(fields as ClientStates), position: fields.position };
}

function watchedNodes(
  pool: NodePool,
  path: string,
  { bucket, namespace, signal, onReconnect }: Omit<ClientFollowQuery, "from">,
): WatchedNodes {
  let at: number | undefined;
  let answered = false;
  return {
    open: async (from) => {
      at = undefined;
      const text = await connect(pool, { path, query: { bucket, namespace, from } }, signal);
      [at, answered] = [pool.current, true];
      return text;
    },
    onEnd: async (reason, failures) => {
      const isEnded = reason instanceof WatchEndedError;
      if (isEnded && reason.regressed)
        throw new CairnClientError("WATCH_COMPACTED", reason.message, {
          hint: LIST_FIRST,
          details: { reason: "regressed" },
        });
      const error = isEnded ? new CairnClientError("NOT_READY", reason.message) : reason;
      // If no node has ever responded, the addresses are probably wrong.
      if (!answered || !(error instanceof CairnClientError)) throw error;
      if (!isTransient(error) && error.code !== "NOT_READY") throw error;
      onReconnect?.(error);
      if (at !== undefined) pool.leave(at);
      // There is no pause after the first failure, because another node has the next transaction.
      await wait(failures === 1 ? 0 : retryPauseMs(failures), signal);
    },
  };
}

/** Opens a stream at the first node that responds, and returns its text as it arrives. */
async function connect(
  pool: NodePool,
  request: Pick<PoolRequest, "path" | "query">,
  signal: AbortSignal | undefined,
): Promise<AsyncIterable<string>> {
  const ending = new AbortController();
  const signals = signal === undefined ? [ending.signal] : [ending.signal, signal];
  const response = await pool.send({ ...request, signal: AbortSignal.any(signals) }, (answer) =>
    Promise.resolve(answer),
  );
  return chunks(response, ending);
}

async function* chunks(response: Response, ending: AbortController): AsyncGenerator<string, void, void> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let cancel: (() => void) | undefined;
  try {
    for (;;) {
      cancel = startTimer(SILENCE_MS, () => ending.abort(new Error("no heartbeat arrived in time")));
      const { done, value } = await reader.read();
      cancel?.();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } catch (error) {
    throw unreachable(response.url, ending.signal.reason ?? error);
  } finally {
    cancel?.();
    // The consumer may have stopped watching before the stream's end.
    ending.abort();
  }
}

/** The hint if no node can continue a watch. */
export const LIST_FIRST = "List the documents, and then watch from the position that the list returns.";
