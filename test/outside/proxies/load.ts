import { Agent, request } from "node:http";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

const REQUESTS_PER_SECOND = 2_000;
const CALLERS = 64;
const KEYS = 500;

/** A constant rate of requests of every kind, with counts of the responses. */
export class Load {
  /** The number of responses by method and status, such as `GET 200` or `PUT ECONNRESET`. A CREATE is a PUT with `If-None-Match: *`. */
  readonly answers = new Map<string, number>();
  /** The number of acknowledged writes that could not be read at the end. */
  lost = 0;
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CALLERS });
  readonly #callers: Promise<void>[];
  readonly #written = new Map<string, number>();
  readonly #begun = performance.now();
  #count = 0;
  #isStopping = false;
  #ended = 0;

  constructor(url: string) {
    this.#url = url;
    this.#callers = Array.from({ length: CALLERS }, (_, caller) => this.#call(caller));
  }

  get seconds(): number {
    return ((this.#ended === 0 ? performance.now() : this.#ended) - this.#begun) / 1_000;
  }

  get rate(): number {
    return this.#count / this.seconds;
  }

  /** Ends the load, and reads back every acknowledged write. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#callers);
    this.#ended = performance.now();
    for (const [key, value] of this.#written) {
      const { status, body } = await this.#ask("GET", `/api/v1/load/${key}`);
      if (status !== "200" || JSON.parse(body) !== value) this.lost += 1;
    }
    this.#agent.destroy();
  }

  async #call(caller: number): Promise<void> {
    for (let n = 0; !this.#isStopping; n += 1) {
      // Each caller has its own keys, so it must read the value that it wrote last.
      const key = `c${caller}-${n % (KEYS / CALLERS)}`;
      await this.#request(key, n);
      const due = this.#begun + ((n + 1) * CALLERS * 1_000) / REQUESTS_PER_SECOND;
      const early = due - performance.now();
      if (early > 0) await delay(early);
    }
  }

  async #request(key: string, n: number): Promise<void> {
    const kind = n % 10;
    if (kind < 7) {
      const exists = this.#written.has(key);
      return void (await this.#counted("GET", exists ? `/api/v1/load/${key}` : "/api/v1/buckets"));
    }
    if (kind < 9) {
      const status = await this.#counted("PUT", `/api/v1/load/${key}`, JSON.stringify(n));
      if (status.startsWith("2")) this.#written.set(key, n);
      else this.#written.delete(key);
      return;
    }
    const id = randomUUID();
    // No other client writes this document, so the precondition holds.
    if (n % 20 === 9) return void (await this.#counted("CREATE", `/api/v1/created/${id}`, String(n)));
    const body = JSON.stringify({ id, ops: [["put", "posted", `default/${key}`, n]] });
    await this.#counted("POST", "/api/v1/tx?await=true", body);
  }

  async #counted(method: string, path: string, body?: string): Promise<string> {
    const { status } = await this.#ask(method, path, body);
    const answer = `${method} ${status}`;
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
    this.#count += 1;
    return status;
  }

  async #ask(method: string, path: string, body?: string): Promise<{ status: string; body: string }> {
    return await new Promise((resolve) => {
      const isCreation = method === "CREATE";
      const options = {
        method: isCreation ? "PUT" : method,
        headers: isCreation ? { "if-none-match": "*" } : {},
        agent: this.#agent,
      };
      const sent = request(this.#url + path, options, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: String(response.statusCode), body: text }));
        response.on("error", () => resolve({ status: "broken off", body: "" }));
      });
      sent.on("error", (error: NodeJS.ErrnoException) =>
        resolve({ status: error.code ?? "failed", body: "" }),
      );
      sent.end(body);
    });
  }
}
