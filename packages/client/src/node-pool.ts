import { jsonProblem } from "./json-problem.ts";
import { answeredError, CairnClientError, unreachable } from "./client-error.ts";

/** One request to whichever node answers. */
export interface ClientRequest {
  readonly method?: "GET" | "POST" | "DELETE";
  /** From `/` on, escaped. */
  readonly path: string;
  /** Of an array, each value is a parameter of that name. */
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
  /** How long the node itself may take, by what it was asked; added to the time of an attempt. */
  readonly waitMs?: number | undefined;
  /** Whether it may be sent again though it may have had an effect: reads, and writes with an idempotency id. */
  readonly repeatable: boolean;
}

/** How a pool tries. */
export interface PoolOptions {
  readonly urls: readonly string[];
  readonly token: string | undefined;
  readonly fetch: typeof globalThis.fetch;
  readonly retryForMs: number;
  readonly attemptMs: number;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/**
 * Nodes that all have the same log: a request goes to the one that answered last and, when that one does not, to the next. Errors
 * that another node, or the same one later, may not have are tried again for a while; every other error is thrown at once.
 */
export class NodePool {
  readonly #options: PoolOptions;
  #current = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** What `read` makes of the answer of the first node that gives one. An answer that breaks off while it is read is none. */
  async send<T>(request: ClientRequest, read: (response: Response) => Promise<T>): Promise<T> {
    const problem = request.body === undefined ? undefined : jsonProblem("what is sent", request.body);
    // JSON.stringify would make another value of it without a word.
    if (problem !== undefined) {
      throw new CairnClientError("TX_INVALID", `Nothing was sent: ${problem}.`, {
        hint: "Give plain objects, lists, text, numbers, true, false and null, and leave out what is undefined.",
      });
    }
    const deadline = Date.now() + this.#options.retryForMs;
    for (let failures = 0; ; failures++) {
      const at = this.#current;
      try {
        return await this.#attempt(at, request, read);
      } catch (error) {
        request.signal?.throwIfAborted();
        if (!(error instanceof CairnClientError)) throw error;
        // It may be stuck where others are not: the caller's time is up, but not that of his next call.
        if (error.code === "TX_TIMEOUT") this.leave(at);
        if (!mayBeTried(error, request)) throw error;
        this.leave(at);
        const pause = this.#pause(failures + 1);
        const wereAllAsked = failures + 1 >= this.#options.urls.length;
        if (wereAllAsked && Date.now() + pause >= deadline) throw error;
        if (pause > 0) await wait(pause, request.signal);
      }
    }
  }

  /** The node that the next request goes to. */
  get current(): number {
    return this.#current;
  }

  /** The node at that place did not do its part: the next one is asked from now on. */
  leave(at: number): void {
    // Somebody else may have left it already.
    if (this.#current === at) this.#current = (at + 1) % this.#options.urls.length;
  }

  /** Every node is asked once before there is a pause; those who come back at the same time do so apart from each other. */
  #pause(failures: number): number {
    const rounds = Math.floor(failures / this.#options.urls.length);
    if (failures % this.#options.urls.length > 0) return 0;
    return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(rounds, 10)) * (0.5 + Math.random() / 2);
  }

  async #attempt<T>(
    at: number,
    request: ClientRequest,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const { urls, token, fetch, attemptMs } = this.#options;
    const url = urls[at] ?? "";
    const { method = "GET", path, query = {}, body, signal, waitMs = 0 } = request;
    const attempt = new AbortController();
    const timer = setTimeout(() => attempt.abort(new Error("no answer in time")), attemptMs + waitMs);
    const signals = signal === undefined ? [attempt.signal] : [attempt.signal, signal];
    try {
      const response = await fetch(url + path + queryText(query), {
        method,
        signal: AbortSignal.any(signals),
        headers: {
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (response.status < 400) return await read(response);
      throw answeredError(url, response.status, await response.text());
    } catch (error) {
      throw error instanceof CairnClientError ? error : unreachable(url, attempt.signal.reason ?? error);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Codes of what passes: on another node, or here when it has recovered. */
function mayBeTried({ code, status }: CairnClientError, { repeatable }: ClientRequest): boolean {
  if (code === "UNREACHABLE") return repeatable;
  if (code === "TX_TIMEOUT") return false;
  return status === 503 && repeatable;
}

/** Resolves after `ms`, or rejects with the signal's reason. */
export async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, ms);
    signal?.addEventListener("abort", end, { once: true });
  });
}

function queryText(query: NonNullable<ClientRequest["query"]>): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [value].flat().map((one: string | number | boolean) => `${name}=${encodeURIComponent(one)}`),
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

/** An answer that was read whole. */
export interface Answer {
  readonly headers: Headers;
  readonly body: unknown;
}

/** Reads an answer. */
export async function readJson(response: Response): Promise<Answer> {
  return { headers: response.headers, body: await response.json() };
}
