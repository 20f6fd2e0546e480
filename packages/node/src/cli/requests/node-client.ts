import { systemClock } from "@cairn/checkpoint";
import {
  Agent as HttpAgent,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as http,
} from "node:http";
import { Agent as HttpsAgent, request as https } from "node:https";
import { text as readText } from "node:stream/consumers";
import { CairnError, type ErrorCode, ERROR_CODES, errorMessage } from "@cairn/kv";

/** What a node answered, when that was no error. */
export interface NodeAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A request for {@link NodeClient.send}. */
export interface NodeRequest {
  readonly method?: string;
  /** From `/` on, escaped. */
  readonly path: string;
  /** Not escaped; what is undefined is left out, and of an array each value is a parameter of that name. */
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the request and its answer. */
  readonly signal?: AbortSignal;
  /** How long nothing may come before the connection is taken for dead; without limit when left out. */
  readonly silenceMs?: number;
}

/** An error that a node answered, with the whole body for those who know more of it. */
export class NodeError extends CairnError {
  readonly body: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string; body: Readonly<Record<string, unknown>> },
  ) {
    super(code, message, options);
    this.body = options.body;
  }
}

/** No answer came. `sent`: whether the request may have reached the node all the same. */
export class NoAnswerError extends CairnError {
  readonly sent: boolean;

  constructor(url: string, sent: boolean, cause: unknown) {
    if (cause === STANDS_STILL) {
      super(
        "NOT_READY",
        `The node at ${url} takes connections and answers nothing, not even /health/live: it stands still.`,
        {
          hint: "Look at its process: in state T (ps -o stat,pid,args) it was stopped, and kill -CONT PID lets it go on. Else restart it; what it had acknowledged is in the log.",
          cause,
        },
      );
    } else {
      const what = sent ? "The connection to the node broke off" : "No node answers";
      super("NOT_READY", `${what} at ${url} (${errorMessage(cause)}).`, {
        hint: "Start one with cairn start, or say which is meant: --url is its address, -f its configuration.",
        cause,
      });
    }
    this.sent = sent;
  }
}

const CONNECT_TIMEOUT_MS = 10_000;
/** So often a node that lets one wait is asked whether it lives, and it has so long to say so. */
const ALIVE_EVERY_MS = 5_000;

const STANDS_STILL = new Error("it stands still");

/**
 * Speaks to one node, over connections that stay open. It has no limit of its own for an answer: nodes say themselves
 * when a wait was too long, and a checkpoint may take an hour. Only a node that does not even say that it lives is given up.
 */
export class NodeClient {
  readonly url: string;
  readonly #token: string | undefined;
  readonly #secure: boolean;
  readonly #agent: HttpAgent | HttpsAgent;

  /** `url` begins with http:// or https://, and may have a path that stands before all others. */
  constructor(url: string, token: string | undefined) {
    this.url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#secure = this.url.startsWith("https:");
    this.#agent = this.#secure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  }

  /** Sends a request; throws {@link NodeError} for an answer of 400 and above, {@link NoAnswerError} when there is none. */
  async send(options: NodeRequest): Promise<NodeAnswer> {
    const response = await this.#exchange(options);
    const body = await this.#read(response);
    const status = response.statusCode ?? 0;
    if (status >= 400) throw nodeError(this.url, status, body);
    return { status, headers: response.headers, text: body };
  }

  /** Sends a request and parses the answer. */
  async json(options: NodeRequest): Promise<unknown> {
    const answer = await this.send(options);
    const value = parse(answer.text);
    if (value === undefined) throw foreign(this.url, answer.status);
    return value;
  }

  /** The text of an answer that goes on, as it comes; ends with {@link NoAnswerError} when it breaks off. */
  async stream(options: NodeRequest): Promise<AsyncIterable<string>> {
    const response = await this.#exchange(options);
    const status = response.statusCode ?? 0;
    if (status >= 400) throw nodeError(this.url, status, await this.#read(response));
    return this.#parts(response);
  }

  async *#parts(response: IncomingMessage): AsyncGenerator<string, void> {
    response.setEncoding("utf8");
    try {
      yield* response as AsyncIterable<string>;
    } catch (error) {
      throw new NoAnswerError(this.url, true, error);
    }
  }

  /** Ends its connections. */
  close(): void {
    this.#agent.destroy();
  }

  #exchange(options: NodeRequest): Promise<IncomingMessage> {
    const { method = "GET", path, query = {}, body, headers = {}, signal, silenceMs } = options;
    return new Promise((resolve, reject) => {
      // From then on the node may have seen the request, whatever becomes of the answer.
      let connected = false;
      const request = (this.#secure ? https : http)(this.url + path + queryText(query), {
        method,
        agent: this.#agent,
        ...(signal === undefined ? {} : { signal }),
        headers: {
          ...(body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
          ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }),
          ...headers,
        },
      });
      const timer = setTimeout(
        () => request.destroy(new Error("connecting took too long")),
        CONNECT_TIMEOUT_MS,
      );
      if (silenceMs !== undefined) {
        request.setTimeout(silenceMs, () => request.destroy(new Error("nothing came for too long")));
      }
      const onConnected = (): void => {
        connected = true;
        clearTimeout(timer);
      };
      request.once("socket", (socket) => {
        if (socket.connecting) socket.once("connect", onConnected);
        else onConnected();
      });
      const answered = new AbortController();
      void this.#watchOver(request, answered.signal);
      request.once("error", (error) => {
        clearTimeout(timer);
        reject(new NoAnswerError(this.url, connected, error));
      });
      request.once("response", resolve);
      // Whatever came of it.
      for (const end of ["response", "close"]) request.once(end, () => answered.abort());
      request.end(body);
    });
  }

  /** Gives a request up whose node stands still, until it is answered. */
  async #watchOver(request: ClientRequest, answered: AbortSignal): Promise<void> {
    while (await systemClock.wait(ALIVE_EVERY_MS, answered)) {
      if (!(await this.#livesIn(ALIVE_EVERY_MS))) request.destroy(STANDS_STILL);
    }
  }

  /** False where a connection is taken and nothing comes on it; any other way of not answering shows itself to the request. */
  #livesIn(timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const question = (this.#secure ? https : http)(`${this.url}/health/live`, { agent: false });
      const timer = setTimeout(() => {
        resolve(false);
        question.destroy();
      }, timeoutMs);
      const answered = (): void => {
        clearTimeout(timer);
        resolve(true);
        question.destroy();
      };
      question.once("response", answered).on("error", answered).end();
    });
  }

  async #read(response: IncomingMessage): Promise<string> {
    try {
      return await readText(response);
    } catch (error) {
      throw new NoAnswerError(this.url, true, error);
    }
  }
}

function queryText(query: NonNullable<NodeRequest["query"]>): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one) => `${name}=${encodeURIComponent(one)}`),
  );
  return pairs.length === 0 ? "" : `?${pairs.join("&")}`;
}

function nodeError(url: string, status: number, text: string): Error {
  const body = parse(text);
  if (!isObject(body) || !isObject(body["error"])) return foreign(url, status);
  const { code, message, hint } = body["error"];
  const known = ERROR_CODES.find((candidate) => candidate === code);
  if (known === undefined) return new Error(`The node at ${url} failed: ${String(message)}`);
  return new NodeError(known, String(message), { ...(typeof hint === "string" ? { hint } : {}), body });
}

function foreign(url: string, status: number): Error {
  return new CairnError("NOT_READY", `What answers at ${url} (status ${status}) is not a Cairn node.`, {
    hint: "Name the node's address with --url.",
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
