import { escaped } from "./escaped.ts";
import { CairnClientError } from "./types/client-error.ts";

export interface NodeRequest {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  /** The path, which starts with `/` and is escaped. */
  readonly path: string;
  /** Not escaped. An undefined value is omitted. Each value of an array becomes a parameter of that name. */
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  /** The body, which is JSON unless `headers` specifies otherwise. */
  readonly body?: string | Uint8Array | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** The part of a response that clients read. A `Response` of `fetch` is one. */
export interface NodeAnswer {
  readonly status: number;
  readonly headers: AnswerHeaders;
  text(): Promise<string>;
}

export interface AnswerHeaders {
  get(name: string): string | null;
}

/** A function that sends one HTTP request. It is called like `fetch`. */
export type Transport<A extends NodeAnswer> = (
  url: string,
  request: {
    readonly method: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: string | Uint8Array<ArrayBuffer>;
    readonly signal?: AbortSignal;
  },
) => Promise<A>;

export interface JsonAnswer {
  readonly headers: AnswerHeaders;
  readonly body: unknown;
}

/** A header of every response of a node. Other servers respond with JSON as well, which must not count as success. */
const NODE_HEADER = "x-request-id";

/** The error for a response that does not come from a Cairn node, such as a proxy's error page. */
export class ForeignAnswerError extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`the response with status ${status} is not from a Cairn node`);
    this.name = "ForeignAnswerError";
    this.status = status;
  }
}

/**
 * Sends a request to a node, whose `url` has no trailing slash, and returns the response, whose body has not been read. Throws {@link CairnClientError} for
 * a response with status 400 or above, {@link ForeignAnswerError}, and the transport's errors.
 */
export async function sendRequest<A extends NodeAnswer>(
  node: { readonly url: string; readonly token: string | undefined; readonly transport: Transport<A> },
  { method = "GET", path, query = {}, body, headers, signal }: NodeRequest,
): Promise<A> {
  const answer = await node.transport(node.url + path + queryText(query), {
    method,
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(node.token === undefined ? {} : { authorization: `Bearer ${node.token}` }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: body as string | Uint8Array<ArrayBuffer> }),
    ...(signal === undefined ? {} : { signal }),
  });
  if (answer.status < 400 && answer.headers.get(NODE_HEADER) !== null) return answer;
  throw answeredError(answer, await answer.text());
}

/** Reads a response as JSON. Throws {@link ForeignAnswerError}. */
export async function readJsonAnswer(answer: NodeAnswer): Promise<JsonAnswer> {
  const body = parse(await answer.text());
  if (body === undefined) throw new ForeignAnswerError(answer.status);
  return { headers: answer.headers, body };
}

function answeredError({ status, headers }: NodeAnswer, text: string): Error {
  const body = headers.get(NODE_HEADER) === null ? undefined : parse(text);
  const error = isObject(body) ? body["error"] : undefined;
  if (!isObject(body) || !isObject(error) || typeof error["code"] !== "string")
    return new ForeignAnswerError(status);
  const { error: _, ...details } = body;
  const hint = typeof error["hint"] === "string" ? error["hint"] : undefined;
  return new CairnClientError(error["code"], String(error["message"]), { status, hint, details });
}

function queryText(query: NonNullable<NodeRequest["query"]>): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined
      ? []
      : [value].flat().map((one: string | number | boolean) => `${name}=${escaped(one)}`),
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
