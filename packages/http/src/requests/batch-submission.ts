import { LIMITS } from "@cairn/client/protocol";
import { CairnError, isCairnError, type TimeSlice } from "@cairn/kv";
import type { AbortedLine, BatchResult, TxId, TxOutcome } from "@cairn/client";
import { AppendSequence, type NodeApi, type SubmittedTransaction, validTransaction } from "@cairn/engine";
import { bodyTooLarge, RequestError } from "../answers/request-error.ts";
import type { IndexBacklog } from "./index-backlog.ts";
import { type NdjsonLine, ndjsonLines, parseJson } from "@cairn/text";

interface StoredLine {
  readonly line: number;
  readonly txId: TxId;
}

/** The most that a line contains besides its document: a key has up to 1,024 bytes, each of which JSON may write as six. */
const BESIDE_DOCUMENT_BYTES = 8_192;

export interface BatchOptions {
  /** A line may contain a document of this size, which another request can write. */
  readonly maxBody: number;
  /** The number that the first line has in error messages. */
  readonly firstLine: number;
  /** The time limit for storing each line in the log. */
  readonly timeoutMs: number | undefined;
  /** Returns the outcome of an accepted transaction once it is indexed. If absent, outcomes are not awaited. */
  readonly outcomeOf?: ((submitted: SubmittedTransaction) => Promise<TxOutcome>) | undefined;
  /** The time slice that all bodies share, and the backlog that all batches do. */
  readonly slice: TimeSlice;
  readonly backlog: IndexBacklog;
}

/** These bounds limit the memory, and how long other writes wait. Larger numbers would not make a log faster. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;
const MAX_WAITING_LINES = 4_096;
/** The maximum number of lines that are submitted before the batch looks whether it has to wait. */
const MAX_PIECE_LINES = 64;
const MAX_ABORTED_LINES = 10_000;

/**
 * Submits a stream of lines in order, many concurrently, and stops at the first rejected one. To leave room for other
 * requests, it waits for an {@link IndexBacklog}, and submits only for a slice of each turn of the event loop. No line
 * after an invalid one is stored; if the log itself rejects a line, later ones that it has received already may be.
 */
export class BatchSubmission {
  readonly #api: Pick<NodeApi, "submit" | "indexed">;
  readonly #options: BatchOptions;
  /** Arrays of lines, oldest first. `done` resolves once all are acknowledged or rejected; it never rejects itself. */
  readonly #waiting: { lines: number; bytes: number; done: Promise<readonly (StoredLine | undefined)[]> }[] =
    [];
  #waitingLines = 0;
  #waitingBytes = 0;
  readonly #sequence = new AppendSequence();
  /** The line with the highest transaction id up to now, and the first one that is stored behind a later line. */
  #highest: StoredLine = { line: 0, txId: 0 };
  #misplaced: { readonly line: StoredLine; readonly before: StoredLine } | undefined;
  #submitted = 0;
  #lastLine = 0;
  #accepted = 0;
  #firstTxId: TxId | null = null;
  #lastTxId: TxId | null = null;
  #aborted = 0;
  readonly #abortedLines: AbortedLine[] = [];
  /** The failure of the earliest line; `before` counts the transactions before that line. */
  #failure: { error: unknown; line: number; before: number } | undefined;

  constructor(api: Pick<NodeApi, "submit" | "indexed">, options: BatchOptions) {
    this.#api = api;
    this.#options = options;
  }

  /**
   * Resolves once each line up to the first rejected one is acknowledged and, if outcomes are awaited, indexed or
   * rejected. If the rest of the body is refused, the first incomplete line counts as rejected. If a line failed, throws
   * the error of the earliest one, with a summary of the accepted lines; else, any other error in reading the body.
   */
  async submitAll(body: AsyncIterable<Buffer>): Promise<BatchResult> {
    const maxLineBytes = this.#options.maxBody + BESIDE_DOCUMENT_BYTES;
    const tooLong = (line: number): Error => {
      const error = bodyTooLarge("The transaction", maxLineBytes);
      this.#fail(error, line, this.#submitted);
      return error;
    };
    try {
      for await (const lines of ndjsonLines(body, maxLineBytes, tooLong)) {
        for (let at = 0; at < lines.length && this.#failure === undefined; at += MAX_PIECE_LINES) {
          this.#submitLines(lines.slice(at, at + MAX_PIECE_LINES));
          await this.#turn();
        }
        if (this.#failure !== undefined) break;
      }
    } catch (error) {
      if (error instanceof RequestError) this.#fail(error, this.#lastLine + 1, this.#submitted);
      if (this.#failure === undefined) throw error;
    } finally {
      while (this.#waiting.length > 0) await this.#awaitOldest();
    }
    return this.#result();
  }

  #result(): BatchResult {
    const summary = {
      accepted: this.#accepted,
      firstTxId: this.#firstTxId,
      lastTxId: this.#lastTxId,
      ...(this.#options.outcomeOf === undefined
        ? {}
        : {
            aborted: this.#aborted,
            abortedLines: this.#abortedLines.toSorted((a, b) => a.line - b.line),
          }),
    };
    if (this.#failure === undefined) {
      if (this.#misplaced !== undefined) throw misplaced(this.#misplaced, summary);
      return summary;
    }
    const { error, line, before } = this.#failure;
    if (!(error instanceof CairnError)) throw error;
    throw new RequestError(error.code, `Line ${line}: ${error.message}`, {
      ...(error instanceof RequestError ? { status: error.status } : {}),
      hint: error.hint,
      cause: error,
      details: { line, ...summary, accepted: before, acceptedAfter: this.#accepted - before },
    });
  }

  async #turn(): Promise<void> {
    while (this.#waitingBytes > MAX_WAITING_BYTES || this.#waitingLines > MAX_WAITING_LINES)
      await this.#awaitOldest();
    const { backlog, slice } = this.#options;
    await backlog.room(this.#api);
    await slice.turn();
  }

  #submitLines(lines: readonly NdjsonLine[]): void {
    const acknowledged: Promise<StoredLine | undefined>[] = [];
    let bytes = 0;
    for (const line of lines) {
      if (this.#failure !== undefined) break;
      bytes += line.bytes.length;
      acknowledged.push(this.#submit(line, this.#submitted));
      this.#submitted += 1;
      this.#lastLine = line.number;
    }
    this.#waiting.push({ lines: acknowledged.length, bytes, done: Promise.all(acknowledged) });
    this.#waitingLines += acknowledged.length;
    this.#waitingBytes += bytes;
  }

  /** Returns where a line is stored; undefined if it was before, or is not. */
  async #submit(line: NdjsonLine, before: number): Promise<StoredLine | undefined> {
    const number = line.number + this.#options.firstLine - 1;
    try {
      const transaction = validTransaction(parseJson(line.bytes));
      const submitted = await this.#api.submit(transaction, {
        timeoutMs: this.#options.timeoutMs ?? LIMITS.waitMs,
        sequence: this.#sequence,
      });
      this.#accepted += 1;
      const { txId, isRepeated = false } = submitted;
      const stored = isRepeated ? undefined : { line: number, txId };
      this.#firstTxId = Math.min(this.#firstTxId ?? txId, txId);
      this.#lastTxId = Math.max(this.#lastTxId ?? txId, txId);
      const outcome = await this.#outcomeOf(submitted);
      if (outcome?.committed !== false) return stored;
      this.#aborted += 1;
      if (this.#abortedLines.length < MAX_ABORTED_LINES)
        this.#abortedLines.push({ line: number, txId: outcome.txId, reason: outcome.reason ?? "" });
      return stored;
    } catch (error) {
      this.#fail(error, line.number, before);
      return undefined;
    }
  }

  /** Waits as long as the index makes progress: thousands of lines may be before this one. */
  async #outcomeOf(submitted: SubmittedTransaction): Promise<TxOutcome | undefined> {
    let reached = -1;
    for (;;) {
      try {
        return await this.#options.outcomeOf?.(submitted);
      } catch (error) {
        if (!isCairnError(error, "TX_TIMEOUT")) throw error;
        const position = await this.#api.indexed(submitted.txId, { timeoutMs: 0 });
        if (position <= reached) throw error;
        reached = position;
      }
    }
  }

  #fail(error: unknown, line: number, before: number): void {
    if (this.#failure !== undefined && this.#failure.before <= before) return;
    this.#failure = { error, line: line + this.#options.firstLine - 1, before };
  }

  /** Compares a line's place in the log with those of the lines before it. */
  #place(stored: StoredLine): void {
    if (stored.txId > this.#highest.txId) this.#highest = stored;
    else this.#misplaced ??= { line: this.#highest, before: stored };
  }

  async #awaitOldest(): Promise<void> {
    const oldest = this.#waiting.shift();
    if (oldest === undefined) return;
    for (const stored of await oldest.done) if (stored !== undefined) this.#place(stored);
    this.#waitingLines -= oldest.lines;
    this.#waitingBytes -= oldest.bytes;
    if (this.#lastTxId !== null) this.#options.backlog.add(this.#lastTxId, oldest.bytes);
  }
}

/** A log that is a cluster may refuse a message, accept the next one, and then the first. */
function misplaced(
  { line, before }: { readonly line: StoredLine; readonly before: StoredLine },
  summary: BatchResult,
): RequestError {
  return new RequestError(
    "CONFLICT",
    `The log has stored line ${line.line} after line ${before.line}, as the transactions ${line.txId} and ${before.txId}. All lines are stored.`,
    {
      hint: `If their order matters, send the lines from ${line.line} on again, without ids or with others, so that the last change of each document is that of the batch.`,
      details: { ...summary },
    },
  );
}
