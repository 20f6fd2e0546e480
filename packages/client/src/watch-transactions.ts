import { CairnClientError, unreachable } from "./client-error.ts";
import type { ClientTransaction, ClientWatchQuery } from "./client-types.ts";
import { followStream, SILENCE_MS, WatchEndedError, type WatchPlace } from "./follow-stream.ts";
import { type NodePool, wait } from "./node-pool.ts";

const LONGEST_PAUSE_MS = 5000;

/**
 * Every transaction from `from` on, once and in the order of the log. When the connection breaks off, or the node leaves its index,
 * another node goes on from exactly there. Ends when it is aborted; `WATCH_COMPACTED` where the past asked for is gone.
 */
export async function* watchTransactions<T>(
  pool: NodePool,
  query: ClientWatchQuery,
): AsyncGenerator<ClientTransaction<T>, void, void> {
  const { signal, onReconnect } = query;
  let at: number | undefined;
  let answered = false;
  const nodes = {
    open: async (place: WatchPlace): Promise<AsyncIterable<string>> => {
      at = undefined;
      const text = await connect(pool, query, place);
      [at, answered] = [pool.current, true];
      return text;
    },
    left: async (why: unknown, failures: number): Promise<void> => {
      const error = why instanceof WatchEndedError ? ended(why) : why;
      // Where nobody ever answered, the addresses are wrong rather than the nodes away.
      if (!answered || !(error instanceof CairnClientError) || !mayGoOn(error)) throw error;
      onReconnect?.(error);
      if (at !== undefined) pool.leave(at);
      // At once the first time: another node has what comes next.
      const pause = failures === 1 ? 0 : Math.min(LONGEST_PAUSE_MS, 50 * 2 ** Math.min(failures, 10));
      await wait(pause, signal).catch((reason: unknown) => {
        if (signal?.aborted !== true) throw reason;
      });
    },
  };
  for await (const { transaction } of followStream<T>(nodes, query)) yield transaction;
}

/** The text of a watch, as it comes from whichever node answers. */
async function connect(
  pool: NodePool,
  { bucket, namespace, signal }: ClientWatchQuery,
  { from, fromTime }: WatchPlace,
): Promise<AsyncIterable<string>> {
  const ending = new AbortController();
  const signals = signal === undefined ? [ending.signal] : [ending.signal, signal];
  const query = { bucket, namespace, from, "from-time": fromTime };
  const response = await pool.send(
    { path: "/api/v1/watch", query, signal: AbortSignal.any(signals), repeatable: true },
    (answer) => Promise.resolve(answer),
  );
  return parts(response, ending);
}

async function* parts(response: Response, ending: AbortController): AsyncGenerator<string, void, void> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    for (;;) {
      timer = setTimeout(() => ending.abort(new Error("nothing was heard for too long")), SILENCE_MS);
      const { done, value } = await reader.read();
      clearTimeout(timer);
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } catch (error) {
    throw unreachable(response.url, ending.signal.reason ?? error);
  } finally {
    clearTimeout(timer);
    // Whoever stops watching leaves the stream in the middle.
    ending.abort();
  }
}

function ended({ message, regressed }: WatchEndedError): CairnClientError {
  if (!regressed) return new CairnClientError("NOT_READY", message);
  return new CairnClientError("WATCH_COMPACTED", message, {
    hint: "List what is there now, then watch from the transaction that the list names.",
  });
}

function mayGoOn({ code, status }: CairnClientError): boolean {
  return code === "UNREACHABLE" || code === "NOT_READY" || status === 503;
}
