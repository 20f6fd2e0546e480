import { type CairnError, type ErrorCode, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";

/** A log that refuses writes can still be read, so nothing else would alert an operator. */
const LOG_REFUSALS = new Set<ErrorCode>(["LOG_FULL", "DISK_FULL", "LOG_UNREACHABLE"]);

/** Logs once when the transaction log begins to refuse transactions, and once when it accepts them again. */
export class RefusedSubmissions {
  readonly #logger: Logger;
  #code: ErrorCode | undefined;
  #count = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  async observe<T>(submission: Promise<T>): Promise<T> {
    try {
      const stored = await submission;
      if (this.#count > 0) this.#logAccepted();
      return stored;
    } catch (error) {
      if (isCairnError(error) && LOG_REFUSALS.has(error.code)) this.#logRefused(error);
      throw error;
    }
  }

  #logAccepted(): void {
    this.#logger.info({ refused: this.#count }, "The log accepts transactions again.");
    this.#count = 0;
    this.#code = undefined;
  }

  #logRefused({ code, hint, message }: CairnError): void {
    this.#count += 1;
    if (this.#code === code) return;
    this.#code = code;
    this.#logger.error({ code, hint }, `Transactions are refused: ${message}`);
  }
}
