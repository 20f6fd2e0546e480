import { type CairnError, type ErrorCode, isCairnError } from "@cairn/kv";
import type { NodeStatus } from "@cairn/client";
import type { Logger } from "pino";

const LOG_REFUSALS = new Set<ErrorCode>(["LOG_FULL", "DISK_FULL", "LOG_UNREACHABLE"]);

/**
 * Whether the transaction log takes transactions. A log that refuses them can still be read, so nothing else would alert
 * an operator. Logs once when the refusals begin, and once when they end.
 */
export class RefusedSubmissions {
  readonly #logger: Logger;
  #error: CairnError | undefined;
  #since = 0;
  #lastAt = 0;
  #count = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Returns why the log refused the last transaction; null if it took it. */
  get refused(): NodeStatus["log"]["refused"] {
    if (this.#error === undefined) return null;
    const { code, message, hint = null } = this.#error;
    return { since: new Date(this.#since).toISOString(), code, message, hint };
  }

  /** Returns the time since the last refusal (ms); undefined if the log took the last transaction. */
  get quietMs(): number | undefined {
    return this.#error === undefined ? undefined : Date.now() - this.#lastAt;
  }

  async observe<T>(submission: Promise<T>): Promise<T> {
    try {
      const stored = await submission;
      if (this.#error !== undefined) this.#logAccepted();
      return stored;
    } catch (error) {
      if (isCairnError(error) && LOG_REFUSALS.has(error.code)) this.#logRefused(error);
      throw error;
    }
  }

  #logAccepted(): void {
    this.#logger.info({ refused: this.#count }, "The log accepts transactions again.");
    this.#count = 0;
    this.#error = undefined;
  }

  #logRefused(error: CairnError): void {
    const { code, hint, message } = error;
    const known = this.#error?.code;
    this.#count += 1;
    this.#lastAt = Date.now();
    if (known === undefined) this.#since = this.#lastAt;
    this.#error = error;
    if (known !== code) this.#logger.error({ code, hint }, `Transactions are refused: ${message}`);
  }
}
