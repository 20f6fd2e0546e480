import { CairnClientError, unreachable } from "./types/client-error.ts";
import { jsonProblem } from "./types/json-problem.ts";
import { type NodeRequest, sendRequest } from "./node-request.ts";
import { pause, retryPauseMs, runAfter } from "./types/timing.ts";

export interface PoolRequest extends Pick<NodeRequest, "path" | "query" | "signal"> {
  readonly method?: "GET" | "POST";
  /** The body, which is sent as JSON. */
  readonly body?: unknown;
  /** How long the request asks the node to wait. This time is added to the time limit of an attempt. */
  readonly waitMs?: number | undefined;
}

export interface PoolOptions {
  readonly urls: readonly string[];
  readonly token: string | undefined;
  readonly fetch: typeof globalThis.fetch;
  readonly retryForMs: number;
  readonly attemptMs: number;
}

/**
 * Nodes that share one log. A request goes to the node that responded most recently and, if that node fails, to the
 * next one. After an error that might not occur at another node, or at the same node later, the request is retried for
 * a while. Any other error is thrown immediately. Requests must be safe to repeat: reads, and writes with an
 * idempotency id.
 */
export class NodePool {
  readonly #options: PoolOptions;
  #current = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** Returns what `read` makes of the first response. One that is interrupted while it is read counts as none. */
  async send<T>(request: PoolRequest, read: (response: Response) => Promise<T>): Promise<T> {
    const problem = request.body === undefined ? undefined : jsonProblem("what is sent", request.body);
    // JSON.stringify would silently send a different value.
    if (problem !== undefined) {
      throw new CairnClientError("TX_INVALID", `Nothing was sent: ${problem}.`, {
        hint: "Send plain objects, lists, strings, numbers, true, false and null, without undefined values.",
      });
    }
    // Every attempt sends the same, because of their common id only one is applied. The caller may change it meanwhile.
    const sent = { ...request, body: JSON.stringify(request.body) as string | undefined };
    const deadline = Date.now() + this.#options.retryForMs;
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
        // This node cannot write to the log, and never will, so only another node may accept a transaction.
        const isElsewhere = error.code === "LOG_READ_ONLY";
        if (!isElsewhere && !isTransient(error)) throw error;
        this.leave(at);
        const { length } = this.#options.urls;
        // Every node is tried before there is a pause.
        const pauseMs = failures % length > 0 ? 0 : retryPauseMs(failures / length);
        const wereAllAsked = failures >= length;
        if (wereAllAsked && (isElsewhere || Date.now() + pauseMs >= deadline)) throw error;
        if (pauseMs > 0) await pause(pauseMs, request.signal);
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
    const cancel = runAfter(attemptMs + waitMs, () => attempt.abort(new Error("no response in time")));
    const signals = signal === undefined ? [attempt.signal] : [attempt.signal, signal];
    try {
      const sent = { ...rest, signal: AbortSignal.any(signals) };
      return await read(await sendRequest({ url, token, transport: fetch }, sent));
    } catch (error) {
      throw error instanceof CairnClientError ? error : unreachable(url, attempt.signal.reason ?? error);
    } finally {
      cancel();
    }
  }
}

/** Returns whether the request may succeed at another node, or later at the same node. */
export function isTransient({ code, status }: CairnClientError): boolean {
  return code === "UNREACHABLE" || (status === 503 && code !== "TX_TIMEOUT");
}
