import type { Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { NodeApi } from "../../api/node-api.ts";
import type { TimeLimit } from "../../concurrency/time-limit.ts";
import { validTransaction } from "../../transactions/validate-transaction.ts";
import { RequestError, tooLarge } from "../answers/error-response.ts";
import { type NdjsonLine, ndjsonLines } from "./ndjson-lines.ts";
import { parseJson } from "./request-body.ts";

/** What became of a batch. Ids are null when it had no transactions. */
export interface BatchResult {
  readonly accepted: number;
  readonly firstTxId: TxId | null;
  readonly lastTxId: TxId | null;
}

/** How to take a batch. */
export interface BatchOptions {
  /** The most bytes of one line. */
  readonly maxLine: number;
  /** Which number the first line has. */
  readonly firstLine: number;
  /** Begins the time that a line may wait for the log, and all of them together for the index. */
  readonly timeLimit: () => TimeLimit;
}

/** Bytes that may wait for the log at once. Bounds memory; more does not make a log faster. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

/**
 * Submits a stream of lines in order, many at a time. It stops at the first line that is refused. Lines are checked
 * before they are submitted, so a mistake in one stops all after it; only where the log itself fails may later lines, which
 * were on their way, have been stored as well.
 */
export class BatchSubmission {
  readonly #api: NodeApi;
  readonly #options: BatchOptions;
  /** Arrays of lines that were submitted, oldest first. `done` resolves when all of one are acknowledged or refused; it never rejects. */
  readonly #waiting: { bytes: number; done: Promise<unknown> }[] = [];
  #waitingBytes = 0;
  /** Lines that were submitted, whatever became of them. */
  #submitted = 0;
  #accepted = 0;
  #firstTxId: TxId | null = null;
  #lastTxId: TxId | null = null;
  /** The failure of the earliest line; `before` counts the transactions that precede it. */
  #failure: { error: unknown; line: number; before: number } | undefined;

  constructor(api: NodeApi, options: BatchOptions) {
    this.#api = api;
    this.#options = options;
  }

  /**
   * Answers when every line that was submitted is acknowledged or refused, with the time for what comes after that: it is counted from
   * the last line on, since how long the lines take to come is the client's business.
   */
  async submitAll(body: Readable): Promise<TimeLimit> {
    // Leaving the loop early must not end the connection, which still carries the answer.
    let limit: TimeLimit;
    const chunks = body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
    try {
      for await (const lines of ndjsonLines(chunks, this.#options.maxLine, (line) => this.#tooLong(line))) {
        this.#submitLines(lines);
        while (this.#waitingBytes > MAX_WAITING_BYTES) await this.#oldest();
        if (this.#failure !== undefined) break;
      }
    } catch (error) {
      if (this.#failure === undefined) throw error;
    } finally {
      limit = this.#options.timeLimit();
      while (this.#waiting.length > 0) await this.#oldest();
    }
    return limit;
  }

  /** The summary; throws the error of the earliest line that failed, with what was accepted. */
  result(): BatchResult {
    const summary = { accepted: this.#accepted, firstTxId: this.#firstTxId, lastTxId: this.#lastTxId };
    if (this.#failure === undefined) return summary;
    const { error, line, before } = this.#failure;
    if (!(error instanceof CairnError)) throw error;
    throw new RequestError(error.code, `Line ${line}: ${error.message}`, {
      ...(error instanceof RequestError ? { status: error.status } : {}),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
      details: { line, ...summary, accepted: before, acceptedAfter: this.#accepted - before },
    });
  }

  #submitLines(lines: readonly NdjsonLine[]): void {
    const acknowledged: Promise<void>[] = [];
    let bytes = 0;
    for (const line of lines) {
      if (this.#failure !== undefined) break;
      bytes += line.bytes.length;
      acknowledged.push(this.#submit(line, this.#submitted));
      this.#submitted += 1;
    }
    this.#waiting.push({ bytes, done: Promise.all(acknowledged) });
    this.#waitingBytes += bytes;
  }

  async #submit(line: NdjsonLine, before: number): Promise<void> {
    try {
      const transaction = validTransaction(parseJson(line.bytes));
      const { txId } = await this.#api.submit(transaction, {
        timeoutMs: this.#options.timeLimit().ms,
      });
      this.#accepted += 1;
      this.#firstTxId = Math.min(this.#firstTxId ?? txId, txId);
      this.#lastTxId = Math.max(this.#lastTxId ?? txId, txId);
    } catch (error) {
      this.#fail(error, line.number, before);
    }
  }

  #tooLong(line: number): Error {
    const error = tooLarge("The transaction", this.#options.maxLine);
    this.#fail(error, line, this.#submitted);
    return error;
  }

  #fail(error: unknown, line: number, before: number): void {
    if (this.#failure !== undefined && this.#failure.before <= before) return;
    this.#failure = { error, line: line + this.#options.firstLine - 1, before };
  }

  async #oldest(): Promise<void> {
    const oldest = this.#waiting.shift();
    if (oldest === undefined) return;
    await oldest.done;
    this.#waitingBytes -= oldest.bytes;
  }
}
