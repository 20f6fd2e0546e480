import { words } from "../text/amounts.ts";

/** The address of the node. It may be below a path of a proxy. */
export const NODE = new URL(".", document.baseURI);

/** The time after which a node that has not answered counts as unable to. */
const ANSWER_MS = 10_000;
const TOKEN_KEY = "cairn-token";

/** A request that failed: with the node's error, or because the node did not answer. */
export class RequestFailed extends Error {
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly hint: string | undefined;

  constructor(
    message: string,
    { status, code, hint }: Partial<Pick<RequestFailed, "status" | "code" | "hint">>,
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

export interface Answered {
  readonly body: unknown;
  readonly headers: Headers;
}

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

/** Sends GET to an address of the node. Throws {@link RequestFailed}, or the reason of `signal`. */
export async function ask(path: string, signal?: AbortSignal): Promise<Answered> {
  const token = tabToken.value;
  const limit = AbortSignal.timeout(ANSWER_MS);
  let response: Response;
  let text: string;
  try {
    response = await fetch(new URL(path, NODE), {
      headers: {
        accept: "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      cache: "no-store",
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    text = await response.text();
  } catch {
    signal?.throwIfAborted();
    throw new RequestFailed("The node did not answer.", {
      hint: "Check that it runs, and that this machine can connect to it.",
    });
  }
  if (response.status === 401) tabToken.refused(token);
  const body = parsed(text);
  if (response.ok && body !== undefined) return { body, headers: response.headers };
  throw failureOf(response.status, body);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function failureOf(status: number, body: unknown): RequestFailed {
  const { error } = (body ?? {}) as { error?: { code?: unknown; message?: unknown; hint?: unknown } };
  if (typeof error?.message !== "string") {
    return new RequestFailed(`The response with status ${status} cannot be understood.`, {
      status,
      hint: "Open the page of the node itself if a proxy is in between.",
    });
  }
  return new RequestFailed(error.message, {
    status,
    code: words(error.code),
    ...(typeof error.hint === "string" ? { hint: error.hint } : {}),
  });
}

/** Returns the cursor of the next page of a list; undefined on its last page. */
export function nextCursorOf({ headers }: Answered): string | undefined {
  const address = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get("link") ?? "")?.[1];
  return address === undefined ? undefined : (new URL(address, NODE).searchParams.get("cursor") ?? undefined);
}
