import { HistoryError } from "./history-error.ts";
import { MAX_TOKEN_BYTES, NulSplitter } from "./nul-splitter.ts";

/** An author or committer as git prints it. `date` is git's raw form: seconds since 1970 and a zone (`1700000000 +0200`). */
export interface Signature {
  readonly name: string;
  readonly email: string;
  readonly date: string;
}

/** The header of a commit in the output of `git diff-tree`. */
export interface CommitHeader {
  readonly oid: string;
  readonly tree: string;
  readonly author: Signature;
  readonly committer: Signature;
  readonly message: string;
  /** Whether the message was cut at {@link MAX_MESSAGE_BYTES}. */
  readonly messageCut: boolean;
}

/** Receives the commits and changes, in the order of the stream. */
export interface HistoryHandler {
  commit(header: CommitHeader): void;
  /** Called if the commit wrote a path. `path` is valid only during the call. */
  put(path: Buffer, mode: string, oid: string): void;
  /** Called if the commit removed a path. `path` is valid only during the call. */
  remove(path: Buffer): void;
}

/**
 * The maximum number of bytes of a commit's message that are kept: a transaction has space for them even if every one
 * must be escaped (six bytes each).
 */
export const MAX_MESSAGE_BYTES = 96 * 1024;
const MAX_SIGNATURE_BYTES = 4 * 1024;

/** The format that {@link DiffTreeParser} reads, with `--date=raw`. */
export const COMMIT_FORMAT = `tformat:${["%H", "%T", "%an", "%ae", "%ad", "%cn", "%ce", "%cd", "%B"].join("%x00")}`;
const FIELDS = 9;

const COLON = 0x3a;
const NEWLINE = 0x0a;
const NO_FILE = "000000";

/**
 * Parses the output of `git diff-tree --stdin --raw -z --format=COMMIT_FORMAT`. It counts fields instead of searching
 * for them, so that no message or path can be mistaken for something else.
 */
export class DiffTreeParser {
  readonly #handler: HistoryHandler;
  readonly #splitter: NulSplitter;
  #fields: string[] = [];
  #change: { mode: string; oid: string } | undefined;

  constructor(handler: HistoryHandler) {
    this.#handler = handler;
    this.#splitter = new NulSplitter((bytes, length) => this.#token(bytes, length));
  }

  push(chunk: Buffer): void {
    this.#splitter.push(chunk);
  }

  /** Ends the stream. Throws a {@link HistoryError} if it ends in the middle of a record. */
  end(): void {
    if (this.#splitter.open || this.#fields.length > 0 || this.#change !== undefined) {
      throw new HistoryError("The output of git diff-tree ends in the middle of a record.");
    }
  }

  #token(bytes: Buffer, length: number): void {
    if (this.#change !== undefined) this.#path(bytes, length, this.#change);
    else if (this.#fields.length > 0) this.#field(bytes, length);
    else this.#record(bytes, length);
  }

  #record(bytes: Buffer, length: number): void {
    // Git separates a message from its changes with a newline or another NUL, depending on what follows.
    let from = 0;
    while (bytes[from] === NEWLINE) from += 1;
    if (from === bytes.length) return;
    if (bytes[from] !== COLON) {
      this.#field(bytes.subarray(from), length - from);
      return;
    }
    const [, mode, , oid] = bytes.toString("latin1", from + 1).split(" ");
    if (mode === undefined || oid === undefined) {
      throw new HistoryError(
        `git diff-tree printed a change that cannot be read: ${bytes.toString("latin1")}`,
      );
    }
    this.#change = { mode, oid };
  }

  #path(bytes: Buffer, length: number, change: { mode: string; oid: string }): void {
    if (length > MAX_TOKEN_BYTES) {
      throw new HistoryError(`A path of ${length} bytes is longer than any document could hold.`);
    }
    this.#change = undefined;
    if (change.mode === NO_FILE) this.#handler.remove(bytes);
    else this.#handler.put(bytes, change.mode, change.oid);
  }

  #field(bytes: Buffer, length: number): void {
    const fields = this.#fields;
    const isMessage = fields.length === FIELDS - 1;
    fields.push(text(bytes, isMessage ? MAX_MESSAGE_BYTES : MAX_SIGNATURE_BYTES));
    if (!isMessage) return;
    this.#fields = [];
    const [oid = "", tree = "", an = "", ae = "", ad = "", cn = "", ce = "", cd = "", message = ""] = fields;
    this.#handler.commit({
      oid,
      tree,
      author: { name: an, email: ae, date: ad },
      committer: { name: cn, email: ce, date: cd },
      message: message.replace(/\n+$/, ""),
      messageCut: length > MAX_MESSAGE_BYTES,
    });
  }
}

function text(bytes: Buffer, limit: number): string {
  let end = Math.min(bytes.length, limit);
  // The cut is never between the bytes of a character.
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString("utf8", 0, end);
}
