import { readEventStream } from "../cli/event-stream-reader.ts";
import type { TxId } from "../tx-log/transaction.ts";
import { CairnClientError, unreachable } from "./client-error.ts";
import type { ClientTransaction, ClientWatchQuery } from "./client-types.ts";
import { type NodePool, wait } from "./node-pool.ts";

/** Nodes send heartbeats every 10 s: a connection on which nothing comes for longer than this is dead. */
const SILENCE_MS = 35_000;
const LONGEST_PAUSE_MS = 5000;

/** What any event of the stream may have. */
interface SentFields extends ClientTransaction {
  readonly ahead?: boolean;
  readonly reason?: string;
  readonly message?: string;
}

/**
 * Every transaction from `from` on, once and in the order of the log. When the connection breaks off, or the node leaves its index,
 * another node goes on from exactly there. Ends when it is aborted; `WATCH_COMPACTED` where the past asked for is gone.
 */
export async function* watchTransactions<T>(
  pool: NodePool,
  query: ClientWatchQuery,
): AsyncGenerator<ClientTransaction<T>, void, void> {
  const { signal, onPosition, onReconnect } = query;
  let { from } = query;
  let fromTime: string | undefined;
  let connected = false;
  for (let failures = 0; !isAborted(signal);) {
    const at = pool.current;
    try {
      for await (const { event, told } of connect(pool, query, from, fromTime)) {
        if (event === "cutoff") throw cutOff(told);
        connected = true;
        // A watch that waits for its beginning tells how far the node is, which is behind it.
        if (told.ahead === true) continue;
        failures = 0;
        if (event === "tx") yield told as ClientTransaction<T>;
        from = told.txId;
        fromTime = told.txTime ?? undefined;
        onPosition?.(from);
      }
      throw new CairnClientError("NOT_READY", "The node ended the watch.");
    } catch (error) {
      if (isAborted(signal)) return;
      // Where nobody ever answered, the addresses are wrong rather than the nodes away.
      if (!connected || !(error instanceof CairnClientError) || !mayGoOn(error)) throw error;
      onReconnect?.(error);
      pool.leave(at);
      failures += 1;
      // At once the first time: another node has what comes next.
      const pause = failures === 1 ? 0 : Math.min(LONGEST_PAUSE_MS, 50 * 2 ** Math.min(failures, 10));
      await wait(pause, signal).catch((reason: unknown) => {
        if (!isAborted(signal)) throw reason;
      });
    }
  }
}

async function* connect(
  pool: NodePool,
  { bucket, namespace, signal }: ClientWatchQuery,
  from: TxId | undefined,
  fromTime: string | undefined,
): AsyncGenerator<{ event: string; told: SentFields }, void, void> {
  const silence = new AbortController();
  const signals = signal === undefined ? [silence.signal] : [silence.signal, signal];
  const query = { bucket, namespace, from, "from-time": fromTime };
  const response = await pool.send(
    { path: "/api/v1/watch", query, signal: AbortSignal.any(signals), repeatable: true },
    (answer) => Promise.resolve(answer),
  );
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new Error("nothing was heard for too long")), SILENCE_MS);
  };
  try {
    heard();
    for await (const { event, data } of readEventStream(parts(response, heard))) {
      yield { event, told: JSON.parse(data) as SentFields };
    }
  } catch (error) {
    throw error instanceof CairnClientError
      ? error
      : unreachable(response.url, silence.signal.reason ?? error);
  } finally {
    clearTimeout(timer);
    // Whoever stops watching leaves the stream in the middle.
    silence.abort();
  }
}

async function* parts(response: Response, heard: () => void): AsyncGenerator<string, void, void> {
  if (response.body === null) return;
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    yield decoder.decode(value, { stream: true });
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function cutOff({ reason, message = "The node ended the watch." }: SentFields): CairnClientError {
  if (reason !== "regressed") return new CairnClientError("NOT_READY", message);
  return new CairnClientError("WATCH_COMPACTED", message, {
    hint: "List what is there now, then watch from the transaction that the list names.",
  });
}

function mayGoOn({ code, status }: CairnClientError): boolean {
  return code === "UNREACHABLE" || code === "NOT_READY" || status === 503;
}
