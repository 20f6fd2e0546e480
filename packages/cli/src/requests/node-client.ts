import { once } from "node:events";
import http, { type ClientRequest } from "node:http";
import https from "node:https";
import type { ConnectionOptions } from "node:tls";
import {
  systemClock,
  CairnError,
  type ErrorCode,
  ERROR_CODES,
  errorMessage,
  systemErrorCode,
  startTimer,
} from "@cairn/kv";
import type { TxOutcome } from "@cairn/client";
import {
  CairnClientError,
  ForeignAnswerError,
  type JsonAnswer,
  type NodeAnswer,
  type NodeRequest,
  readJsonAnswer,
  sendRequest,
  SILENCE_MS,
  type Transport,
} from "@cairn/client/protocol";

/** An error that a node returned, with the other fields of the response's body. */
export class NodeError extends CairnError {
  /** The status of the response; 0 if there was none. */
  readonly status: number;

  constructor(code: ErrorCode, { status, message, hint, details }: CairnClientError) {
    super(code, message, { hint, details });
    this.status = status;
  }
}

/** `sent` is true if the request may have reached the node although no response was received. */
export class NoAnswerError extends CairnError {
  readonly sent: boolean;

  constructor(url: string, sent: boolean, cause: unknown) {
    if (cause === FROZEN) {
      super(
        "NOT_READY",
        `The node at ${url} accepts connections but does not respond, not even to /health/live: it is frozen.`,
        {
          hint: "Check the state of its process (ps -o stat,pid,args). If the state is T, resume the process with kill -CONT PID; otherwise restart it. Everything that it acknowledged is in the log.",
          cause,
        },
      );
    } else {
      const failed = `${url.replace(/:.*/s, ":")} ${systemErrorCode(cause) ?? ""}`;
      const what = sent ? "The connection to the node was lost" : "No node responds";
      super("NOT_READY", `${what} at ${url} (${errorMessage(cause)}).`, {
        hint:
          TLS_HINTS.find(([code]) => code.test(failed))?.[1] ??
          "Start a node with cairn start, or name another one by its address (--url) or its configuration (-f).",
        cause,
      });
    }
    this.sent = sent;
  }
}

/** How a client checks the certificate of a node, and proves its own identity. */
export type ClientTls = Pick<
  ConnectionOptions,
  "ca" | "cert" | "key" | "allowPartialTrustChain" | "checkServerIdentity"
>;

/** What to do about a connection that failed because of TLS, by the scheme of the address and the error's code. */
const TLS_HINTS: readonly (readonly [code: RegExp, hint: string])[] = [
  [
    /SELF_SIGNED_CERT|UNABLE_TO_(?:GET_ISSUER_CERT|VERIFY_LEAF_SIGNATURE)/,
    "Name the certificate of the authority that signed the node's certificate with --ca or CAIRN_CA.",
  ],
  [
    /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID/,
    "Replace the node's certificate and its key, which the node reads again when they change. If this machine's clock is wrong, correct it instead.",
  ],
  [/ERR_TLS_CERT_ALTNAME_INVALID/, "Use an address that the node's certificate contains (--url)."],
  [
    /ALERT.*CERTIFICATE|CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA/i,
    "Name a certificate that the node accepts, and its key, with --cert and --key or CAIRN_CERT and CAIRN_KEY.",
  ],
  [
    /^https: .*(?:WRONG_VERSION_NUMBER|EPROTO$|PACKET_LENGTH_TOO_LONG)/,
    "Use http:// in the address, if the node has no TLS.",
  ],
  [
    /^http: ECONNRESET/,
    "Use https:// in the address, if the node has TLS. If it has not, all of its connections may be in use: cairn status --cluster then reports that.",
  ],
];

const CONNECT_TIMEOUT_MS = 10_000;
/** The time after which the liveness of a slow node is probed, and the timeout of that probe. */
const LIVENESS_CHECK_MS = 5_000;

const FROZEN = new Error("it is frozen");

/** A response whose body can also be read while it arrives. */
interface StreamedAnswer extends NodeAnswer {
  chunks(): AsyncIterable<string>;
}

/**
 * A client of one node, with keep-alive connections. A request is never retried. Uses node:http because `fetch` stops
 * waiting after five minutes and does not report whether a request was sent. Responses have no time limit, because a
 * checkpoint may take an hour and nodes limit their waits. A request is abandoned only if the node is frozen: it does
 * not respond even at /health/live.
 */
export class NodeClient {
  readonly url: string;
  readonly #token: string | undefined;
  readonly #tls: ClientTls;
  readonly #http: typeof http | typeof https;
  readonly #agent: http.Agent;

  /** `url` begins with http:// or https:// and may have a path, which is prepended to the path of each request. */
  constructor(url: string, token: string | undefined, tls: ClientTls = {}) {
    this.url = url.replace(/\/+$/, "");
    this.#token = token;
    const isSecure = url.startsWith("https:");
    this.#tls = isSecure ? tls : {};
    this.#http = isSecure ? https : http;
    this.#agent = new this.#http.Agent({ keepAlive: true, ...this.#tls });
  }

  /** Throws {@link NodeError} for status 400 and above, {@link NoAnswerError}, or `NOT_READY` for no Cairn node. */
  async send(request: NodeRequest): Promise<JsonAnswer> {
    return await this.#answered(request, readJsonAnswer);
  }

  async json<T>(request: NodeRequest): Promise<T> {
    return (await this.send(request)).body as T;
  }

  /** Submits a transaction in JSON, and waits for its outcome. */
  async transact(body: string): Promise<TxOutcome> {
    return await this.json({ method: "POST", path: "/api/v1/tx", query: { await: true }, body });
  }

  /** Yields the text as it arrives. Throws {@link NoAnswerError} when the connection breaks or falls silent. */
  async stream(request: NodeRequest): Promise<AsyncIterable<string>> {
    return await this.#answered(request, (answer) => Promise.resolve(answer.chunks()), SILENCE_MS);
  }

  close(): void {
    this.#agent.destroy();
  }

  async #answered<T>(
    request: NodeRequest,
    read: (answer: StreamedAnswer) => Promise<T>,
    silenceMs?: number,
  ): Promise<T> {
    const transport = this.#transport(silenceMs);
    try {
      return await read(await sendRequest({ url: this.url, token: this.#token, transport }, request));
    } catch (error) {
      throw this.#ownError(error);
    }
  }

  /** A connection that is silent for `silenceMs` is considered dead; by default there is no limit. */
  #transport(silenceMs?: number): Transport<StreamedAnswer> {
    return async (url, { body, ...options }) => {
      const request = this.#http.request(url, { ...options, agent: this.#agent });
      const settled = new AbortController();
      for (const end of ["response", "close"]) request.once(end, () => settled.abort());
      void this.#watchLiveness(request, settled.signal);
      if (silenceMs !== undefined)
        request.setTimeout(silenceMs, () => request.destroy(new Error("no heartbeat arrived in time")));
      // Once the connection is established, the node may have received the request, even if no response arrives.
      let isConnected = false;
      const late = (): void => void request.destroy(new Error("connecting took too long"));
      const cancel = startTimer(CONNECT_TIMEOUT_MS, late);
      const onConnected = (): void => {
        isConnected = true;
        cancel();
      };
      request.once("socket", (socket) => {
        if (socket.connecting) socket.once("connect", onConnected);
        else onConnected();
      });
      return await new Promise((resolve, reject) => {
        request.once("error", (error) => {
          cancel();
          reject(new NoAnswerError(this.url, isConnected, error));
        });
        request.once("response", (response) => resolve(this.#answer(response)));
        request.end(body);
      });
    };
  }

  #answer(response: http.IncomingMessage): StreamedAnswer {
    const { statusCode: status = 0, headers } = response;
    const { url } = this;
    const chunks = async function* (): AsyncGenerator<string, void> {
      response.setEncoding("utf8");
      try {
        yield* response as AsyncIterable<string>;
      } catch (error) {
        throw new NoAnswerError(url, true, error);
      }
    };
    const text = async (): Promise<string> => {
      let all = "";
      for await (const chunk of chunks()) all += chunk;
      return all;
    };
    return { status, headers: { get: (name) => headers[name]?.toString() ?? null }, text, chunks };
  }

  /** Abandons a request if the node accepts another connection but sends nothing on it. */
  async #watchLiveness(request: ClientRequest, settled: AbortSignal): Promise<void> {
    while (await systemClock.wait(LIVENESS_CHECK_MS, settled)) {
      const probe = this.#http.request(`${this.url}/health/live`, { ...this.#tls, agent: false });
      // The request itself reports any other failure.
      const isSilent = await Promise.race([
        once(probe.on("error", () => undefined).end(), "response").then(
          () => false,
          () => false,
        ),
        systemClock.wait(LIVENESS_CHECK_MS, settled),
      ]);
      probe.destroy();
      if (isSilent) request.destroy(FROZEN);
    }
  }

  #ownError(error: unknown): unknown {
    if (error instanceof ForeignAnswerError) {
      const { url } = this;
      const { status } = error;
      if (status >= 300)
        return new CairnError(
          "NOT_READY",
          `At ${url}, a proxy or another program responds with status ${status}, not a Cairn node.`,
          "If it is a proxy, start the nodes behind it (cairn start), and correct its configuration, such as its limit for bodies at status 413. To ask a node itself, name the node's address with --url. If it is another program, end it, or give the node another port.",
        );
      return new CairnError(
        "NOT_READY",
        `The server at ${url} is not a Cairn node (its response has status ${status}).`,
        "Another program uses this address. If it is meant for a node, end that program or give the node another port, and start the node (cairn start). Otherwise, name the node's address with --url.",
      );
    }
    if (!(error instanceof CairnClientError)) return error;
    const code = ERROR_CODES.find((known) => known === error.code);
    if (code !== undefined) return new NodeError(code, error);
    return new Error(`The node at ${this.url} failed: ${error.message}`);
  }
}
