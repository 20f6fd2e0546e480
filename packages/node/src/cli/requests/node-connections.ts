import http, { type ClientRequest, type IncomingMessage } from "node:http";
import https from "node:https";
import type { ConnectionOptions } from "node:tls";
import { text as readText } from "node:stream/consumers";
import { systemClock } from "@cairn/checkpoint";
import type { NodeAnswer, Transport } from "@cairn/client/protocol";
import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";

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

/** A response whose body can also be read while it arrives. */
export interface StreamedAnswer extends NodeAnswer {
  chunks(): AsyncIterable<string>;
}

/** What to do about a connection that failed because of TLS, by the scheme of the address and the error's code. */
const TLS_HINTS: readonly (readonly [code: RegExp, hint: string])[] = [
  [
    /SELF_SIGNED_CERT|UNABLE_TO_(?:GET_ISSUER_CERT|VERIFY_LEAF_SIGNATURE)/,
    "Name the certificate of the authority that signed the node's certificate with --ca or CAIRN_CA.",
  ],
  [
    /CERT_HAS_EXPIRED/,
    "Replace the node's certificate and its key, which the node reads again when they change.",
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
  [/^http: ECONNRESET/, "Use https:// in the address, if the node has TLS."],
];

const CONNECT_TIMEOUT_MS = 10_000;
/** The time after which the liveness of a slow node is probed, and the timeout of that probe. */
const LIVENESS_CHECK_MS = 5_000;

const FROZEN = new Error("it is frozen");

/**
 * Keep-alive connections to one node. They use node:http because `fetch` stops waiting for a response after five
 * minutes and does not report whether a request was sent. Responses have no time limit, because a checkpoint may take
 * an hour and nodes limit their waits themselves. A request is abandoned only if the node is frozen, that is, if it
 * does not respond even at /health/live.
 */
export class NodeConnections {
  readonly #url: string;
  readonly #tls: ClientTls;
  readonly #http: typeof http | typeof https;
  readonly #agent: http.Agent;

  constructor(url: string, tls: ClientTls = {}) {
    const isSecure = url.startsWith("https:");
    this.#url = url;
    this.#tls = isSecure ? tls : {};
    this.#http = isSecure ? https : http;
    this.#agent = new this.#http.Agent({ keepAlive: true, ...this.#tls });
  }

  /**
   * Returns a function that sends requests and throws {@link NoAnswerError} if there is no response. A connection that
   * is silent for `silenceMs` is considered dead; by default there is no limit.
   */
  transport(silenceMs?: number): Transport<StreamedAnswer> {
    return async (url, { body, ...options }) =>
      await new Promise((resolve, reject) => {
        // Once the connection is established, the node may have received the request, even if no response arrives.
        let isConnected = false;
        const request = this.#http.request(url, { ...options, agent: this.#agent });
        const timer = setTimeout(
          () => request.destroy(new Error("connecting took too long")),
          CONNECT_TIMEOUT_MS,
        );
        if (silenceMs !== undefined) {
          request.setTimeout(silenceMs, () => request.destroy(new Error("no heartbeat arrived in time")));
        }
        const onConnected = (): void => {
          isConnected = true;
          clearTimeout(timer);
        };
        request.once("socket", (socket) => {
          if (socket.connecting) socket.once("connect", onConnected);
          else onConnected();
        });
        const settled = new AbortController();
        void this.#watchLiveness(request, settled.signal);
        request.once("error", (error) => {
          clearTimeout(timer);
          reject(new NoAnswerError(this.#url, isConnected, error));
        });
        request.once("response", (response) => resolve(this.#answer(response)));
        for (const end of ["response", "close"]) request.once(end, () => settled.abort());
        request.end(body);
      });
  }

  close(): void {
    this.#agent.destroy();
  }

  #answer(response: IncomingMessage): StreamedAnswer {
    const { statusCode: status = 0, headers } = response;
    const brokeOff = (error: unknown): NoAnswerError => new NoAnswerError(this.#url, true, error);
    return {
      status,
      headers: { get: (name) => headers[name]?.toString() ?? null },
      text: async () => {
        try {
          return await readText(response);
        } catch (error) {
          throw brokeOff(error);
        }
      },
      chunks: async function* () {
        response.setEncoding("utf8");
        try {
          yield* response as AsyncIterable<string>;
        } catch (error) {
          throw brokeOff(error);
        }
      },
    };
  }

  /** Abandons a request if the node is frozen. */
  async #watchLiveness(request: ClientRequest, settled: AbortSignal): Promise<void> {
    while (await systemClock.wait(LIVENESS_CHECK_MS, settled)) {
      if (!(await this.#isAlive())) request.destroy(FROZEN);
    }
  }

  /**
   * Returns false if a connection is accepted but nothing arrives on it. The request itself reports any other failure.
   */
  #isAlive(): Promise<boolean> {
    return new Promise((resolve) => {
      const request = this.#http.request(`${this.#url}/health/live`, { ...this.#tls, agent: false });
      const timer = setTimeout(() => {
        resolve(false);
        request.destroy();
      }, LIVENESS_CHECK_MS);
      const answered = (): void => {
        clearTimeout(timer);
        resolve(true);
        request.destroy();
      };
      request.once("response", answered).on("error", answered).end();
    });
  }
}
