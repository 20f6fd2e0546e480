/** A complete HTTP response of a node. */
export class NodeResponse {
  readonly node: number;
  readonly status: number;
  readonly body: unknown;
  readonly receivedAt = Date.now();
  readonly #headers: Headers;

  constructor(node: number, { status, headers }: Response, body: unknown) {
    this.node = node;
    this.status = status;
    this.body = body;
    this.#headers = headers;
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** Whether the response is the result of a read, even "not found". */
  get isRead(): boolean {
    return this.status === 200 || (this.status === 404 && this.code === "NOT_FOUND");
  }

  get code(): string {
    return (this.body as { error?: { code?: string } } | null)?.error?.code ?? "";
  }

  get hasMore(): boolean {
    return this.#headers.has("link");
  }

  /** The path of a list's next page; undefined after the last one. */
  get nextPage(): string | undefined {
    return /<(.*)>/.exec(this.#headers.get("link") ?? "")?.[1];
  }

  /** The position after a list, from which a watch continues it; empty in other responses. */
  get position(): string {
    return this.#headers.get("cairn-position") ?? "";
  }

  /** The transaction whose state a list or a stale read shows. */
  get txId(): number | undefined {
    const text = this.#headers.get("cairn-tx");
    return text === null ? undefined : Number(text);
  }

  /** The document in the response; null if there was none. */
  version(): { readonly revision: number; readonly json: string } | null {
    if (this.status === 404) return null;
    const revision = Number(/\d+/.exec(this.#headers.get("etag") ?? "")?.[0]);
    return { revision, json: JSON.stringify(this.body) };
  }
}

/** The result of {@link askNode} if no process listens. */
export const NOT_SENT = "no answer: ECONNREFUSED";

/** Sends a request to a node. Returns the reason as a string if there is no complete response. */
export async function askNode(node: number, url: string, init: RequestInit): Promise<NodeResponse | string> {
  try {
    const response = await fetch(url, init);
    return new NodeResponse(node, response, JSON.parse(await response.text()));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const { cause } = error;
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    return `no answer: ${code === "" ? error.name : code}`;
  }
}
