import { type CairnError, type ErrorCode, isCairnError } from "@cairn/kv";
import type { Logger } from "pino";

/** A log that is not written can still be read: nothing else would tell an operator. */
const OF_THE_LOG = new Set<ErrorCode>(["LOG_FULL", "DISK_FULL", "LOG_UNREACHABLE"]);

/** Tells in the node's log once that the transaction log takes no more, and once that it takes transactions again. */
export class RefusedSubmissions {
  readonly #logger: Logger;
  #code: ErrorCode | undefined;
  #count = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The same as a submission ends with. */
  async told<T>(submission: Promise<T>): Promise<T> {
    try {
      const stored = await submission;
      if (this.#count > 0) this.#tellTaken();
      return stored;
    } catch (error) {
      if (isCairnError(error) && OF_THE_LOG.has(error.code)) this.#tellRefused(error);
      throw error;
    }
  }

  #tellTaken(): void {
    this.#logger.info({ refused: this.#count }, "The log takes transactions again.");
    this.#count = 0;
    this.#code = undefined;
  }

  #tellRefused({ code, hint, message }: CairnError): void {
    this.#count += 1;
    if (this.#code === code) return;
    this.#code = code;
    this.#logger.error({ code, hint }, `Transactions are refused: ${message}`);
  }
}
