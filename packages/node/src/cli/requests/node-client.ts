import type { TxOutcome } from "@cairn/client";
import {
  CairnClientError,
  ForeignAnswerError,
  type JsonAnswer,
  type NodeRequest,
  readJsonAnswer,
  sendRequest,
  SILENCE_MS,
} from "@cairn/client/protocol";
import { CairnError, type ErrorCode, ERROR_CODES } from "@cairn/kv";
import { type ClientTls, NodeConnections, type StreamedAnswer } from "./node-connections.ts";

/** An error that a node returned, with the other fields of the response's body. */
export class NodeError extends CairnError {
  /** The status of the response; 0 if there was none. */
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, { status, message, hint, details }: CairnClientError) {
    super(code, message, hint === undefined ? {} : { hint });
    this.status = status;
    this.details = details;
  }
}

/** Errors have codes and hints for the command line. The client never retries a request on its own. */
export class NodeClient {
  readonly url: string;
  readonly #token: string | undefined;
  readonly #connections: NodeConnections;

  /** `url` begins with http:// or https:// and may have a path, which is prepended to the path of each request. */
  constructor(url: string, token: string | undefined, tls?: ClientTls) {
    this.url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#connections = new NodeConnections(this.url, tls);
  }

  /**
   * Sends a request. Throws {@link NodeError} for a response with status 400 or above, `NoAnswerError` if there is no
   * response, and `NOT_READY` if the server is not a Cairn node.
   */
  async send(request: NodeRequest): Promise<JsonAnswer> {
    return await this.#answered(request, readJsonAnswer);
  }

  async json(request: NodeRequest): Promise<unknown> {
    return (await this.send(request)).body;
  }

  /** Submits a transaction in JSON, and waits for its outcome. */
  async transact(body: string): Promise<TxOutcome> {
    return (await this.json({
      method: "POST",
      path: "/api/v1/tx",
      query: { await: true },
      body,
    })) as TxOutcome;
  }

  /** Yields the text as it arrives. Throws `NoAnswerError` when the connection breaks or falls silent. */
  async stream(request: NodeRequest): Promise<AsyncIterable<string>> {
    return await this.#answered(request, (answer) => Promise.resolve(answer.chunks()), SILENCE_MS);
  }

  close(): void {
    this.#connections.close();
  }

  async #answered<T>(
    request: NodeRequest,
    read: (answer: StreamedAnswer) => Promise<T>,
    silenceMs?: number,
  ): Promise<T> {
    const transport = this.#connections.transport(silenceMs);
    try {
      return await read(await sendRequest({ url: this.url, token: this.#token, transport }, request));
    } catch (error) {
      throw this.#ownError(error);
    }
  }

  #ownError(error: unknown): unknown {
    if (error instanceof ForeignAnswerError) {
      return new CairnError(
        "NOT_READY",
        `The server at ${this.url} is not a Cairn node (its response has status ${error.status}).`,
        { hint: "Name the node's address with --url." },
      );
    }
    if (!(error instanceof CairnClientError)) return error;
    const code = ERROR_CODES.find((known) => known === error.code);
    if (code !== undefined) return new NodeError(code, error);
    return new Error(`The node at ${this.url} failed: ${error.message}`);
  }
}
