import { CairnClientError } from "@cairn/client";
import { ForeignAnswerError, type JsonAnswer, readJsonAnswer, sendRequest } from "@cairn/client/protocol";

/** The address of the node. It may be below a path of a proxy. */
export const NODE = new URL(".", document.baseURI);

/** The time after which a node that has not answered counts as unable to. */
const ANSWER_MS = 10_000;
const TOKEN_KEY = "cairn-token";

/** The token of this tab. It is kept until the tab is closed, and other tabs do not have it. */
export class TabToken {
  /** Whether the node rejected the requests of this tab because of their token. */
  isMissing = false;
  readonly #listeners = new Set<() => void>();

  get value(): string | undefined {
    return sessionStorage.getItem(TOKEN_KEY) ?? undefined;
  }

  set value(token: string | undefined) {
    if (token === undefined) sessionStorage.removeItem(TOKEN_KEY);
    else sessionStorage.setItem(TOKEN_KEY, token);
    this.#tell(false);
  }

  refused(token: string | undefined): void {
    if (token === this.value && !this.isMissing) this.#tell(true);
  }

  /** Calls `listener` when the token changes or is refused. Returns a function that ends this. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(isMissing: boolean): void {
    this.isMissing = isMissing;
    for (const listener of this.#listeners) listener();
  }
}

export const tabToken = new TabToken();

async function transport(path: string, init: RequestInit): Promise<Response> {
  return await fetch(new URL(path, NODE), { ...init, cache: "no-store" });
}

/**
 * Sends GET to an address of the node, or POST if there is a body. Throws `CairnClientError`, or the reason of `signal`.
 */
export async function ask(
  path: string,
  signal: AbortSignal,
  { body, answerMs = ANSWER_MS }: { readonly body?: string; readonly answerMs?: number } = {},
): Promise<JsonAnswer> {
  const token = tabToken.value;
  const limited = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
  const method = body === undefined ? "GET" : "POST";
  const headers = { accept: "application/json" };
  try {
    const request = { method, path, headers, body, signal: limited } as const;
    const answer = await sendRequest({ url: "", token, transport }, request);
    return await readJsonAnswer(answer);
  } catch (error) {
    signal.throwIfAborted();
    const isForeign = error instanceof ForeignAnswerError;
    if ((isForeign || error instanceof CairnClientError) && error.status === 401) tabToken.refused(token);
    if (error instanceof CairnClientError) throw error;
    throw isForeign
      ? new CairnClientError(
          "UNREACHABLE",
          `The response with status ${error.status} cannot be understood.`,
          {
            hint: "Open the page of the node itself if a proxy is in between.",
          },
        )
      : new CairnClientError("UNREACHABLE", "The node did not answer.", {
          hint: "Check that it runs, and that this machine can connect to it.",
        });
  }
}
