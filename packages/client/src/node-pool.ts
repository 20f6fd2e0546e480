import { CairnClientError, unreachable } from "./types/client-error.ts";
import type { HttpClientOptions } from "./types/client-types.ts";
import { type NodeRequest, sendRequest } from "./node-request.ts";
import { retryPauseMs, startTimer, wait } from "./types/timing.ts";

export interface PoolRequest extends Pick<NodeRequest, "path" | "query" | "signal"> {
  readonly method?: "GET" | "POST";
  /** The body, which is sent as JSON. */
  readonly body?: unknown;
  /** How long the request asks the node to wait. This time is added to the time limit of an attempt. */
  readonly waitMs?: number | undefined;
  /** The time after which the request is not repeated any more, if that is earlier than for other requests. */
  readonly timeoutMs?: number | undefined;
}

export type PoolOptions = Required<Omit<HttpClientOptions, "urls">> & { readonly urls: readonly string[] };

/**
 * Nodes that share one log. A request goes to the node that responded most recently and, if that node fails, to the
 * next one. After an error that might not occur at another node, or at the same node later, the request is retried for
 * a while. Any other error is thrown immediately. Requests must be safe to repeat: reads, and writes with an
 * idempotency id.
 */
export class NodePool {
  readonly #options: PoolOptions;
  /** The addresses that have responded, so that this program can read their responses. */
  readonly #answered = new Set<string>();
  #current = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Returns what `read` makes of the first response. One that is interrupted while it is read counts as none. */
  async send<T>(request: PoolRequest, read: (response: Response) => Promise<T>): Promise<T> {
    // Every attempt sends the same, because of their common id only one is applied. The caller may change it meanwhile.
    const { timeoutMs = Infinity, ...once } = request;
    const sent = { ...once, body: JSON.stringify(request.body) as string | undefined };
    const deadline = Date.now() + Math.min(this.#options.retryForMs, timeoutMs);
    for (let failures = 1; ; failures++) {
      const at = this.#current;
      try {
        return await this.#attempt(at, sent, read);
      } catch (error) {
        request.signal?.throwIfAborted();
        if (!(error instanceof CairnClientError)) throw error;
        // This node may be stuck although others are not. This call has run out of time, but the next one should use
        // another node.
        if (error.code === "TX_TIMEOUT") this.leave(at);
        // This node cannot write to the log, or does not serve this page, and never will: only another node may.
        // If a browser hid the response, there is no status; a node that refuses a request itself has one.
        const isHidden = error.code === "FORBIDDEN" && error.status === 0;
        const isElsewhere = error.code === "LOG_READ_ONLY" || isHidden;
        if (!isElsewhere && !isTransient(error)) throw error;
        this.leave(at);
        const { length } = this.#options.urls;
        // Every node is tried before there is a pause.
        const pauseMs = failures % length > 0 ? 0 : retryPauseMs(failures / length);
        const wereAllAsked = failures >= length;
        if (wereAllAsked && (isElsewhere || Date.now() + pauseMs >= deadline)) throw error;
        if (pauseMs > 0) await wait(pauseMs, request.signal);
        request.signal?.throwIfAborted();
      }
    }
  }

  /** Returns the index of the node that receives the next request. */
  get current(): number {
    return this.#current;
  }

  /** Moves on to the next node, unless a concurrent request has already left node `at`. */
  leave(at: number): void {
    if (this.#current === at) this.#current = (at + 1) % this.#options.urls.length;
  }

  async #attempt<T>(
    at: number,
    { signal, waitMs = 0, ...rest }: PoolRequest & Pick<NodeRequest, "body">,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const { urls, token, fetch, attemptMs } = this.#options;
    const url = urls[at] ?? "";
    const attempt = new AbortController();
    const cancel = startTimer(attemptMs + waitMs, () => attempt.abort(new Error("no response in time")));
    const signals = AbortSignal.any(signal === undefined ? [attempt.signal] : [attempt.signal, signal]);
    const noted: typeof fetch = async (...call) => {
      const response = await fetch(...call);
      this.#answered.add(url);
      return response;
    };
    try {
      const sent = { ...rest, signal: signals };
      return await read(await sendRequest({ url, token, transport: noted }, sent));
    } catch (error) {
      if (error instanceof CairnClientError) throw error;
      const isFirst = !signals.aborted && !this.#answered.has(url);
      if (isFirst && (await isHiddenFromPage(fetch, url, signals))) throw hidden(url, error);
      throw unreachable(url, attempt.signal.reason ?? error);
    } finally {
      cancel();
    }
  }
}

/** Returns whether the request may succeed at another node, or later at the same node. */
export function isTransient({ code, status }: Pick<CairnClientError, "code" | "status">): boolean {
  // A request that did not arrive in time, because this program or the network stalled, was not executed.
  return code === "UNREACHABLE" || status === 408 || (status === 503 && code !== "TX_TIMEOUT");
}

/** The origin of the page that runs this program. Outside a browser, it is undefined. */
function pageOrigin(): string | undefined {
  return (globalThis as { readonly origin?: string }).origin;
}

/**
 * Returns whether something responds at `url`, but the browser hides its responses from this page. To scripts, that
 * looks like no response. A server that has started only after the failure passes both probes, in this order.
 */
async function isHiddenFromPage(
  fetch: PoolOptions["fetch"],
  url: string,
  signal: AbortSignal,
): Promise<boolean> {
  const origin = pageOrigin();
  if (origin === undefined || origin === new URL(url).origin) return false;
  const responds = async (mode: "no-cors" | "cors"): Promise<boolean> =>
    await fetch(`${url}/health/live`, { mode, signal }).then(
      () => true,
      () => false,
    );
  return (await responds("no-cors")) && !(await responds("cors")) && !signal.aborted;
}

function hidden(url: string, cause: unknown): CairnClientError {
  const origin = pageOrigin();
  return new CairnClientError(
    "FORBIDDEN",
    `Something responds at ${url}, but does not permit pages of ${origin} to read its responses.`,
    {
      hint: `Add "${origin}" to cors-origins in cairn/http-server of the node, and restart it. If the node is behind a proxy, check that the proxy reaches it.`,
      cause,
    },
  );
}
