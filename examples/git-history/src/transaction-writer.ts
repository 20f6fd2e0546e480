import type { CommitHeader, HistoryHandler } from "./diff-tree-parser.ts";
import { COMMITS, FILES, commitDocument, fileDocument } from "./documents.ts";
import { HistoryError } from "./history-error.ts";
import { pathName } from "./path-name.ts";

/** The maximum size of a transaction: below the 1 MiB that a node accepts, with space for the envelope. */
export const MAX_TRANSACTION_BYTES = 900_000;

/** A commit's position in the history. */
export interface CommitPlace {
  readonly oid: string;
  readonly number: number;
  readonly parents: readonly string[];
}

/** Options for a {@link TransactionWriter}. */
export interface TransactionWriterOptions {
  /** The repository's name, which is the namespace of all its keys. */
  readonly name: string;
  readonly maxBytes: number;
  /** Returns the position of the next commit. */
  readonly place: (oid: string) => CommitPlace;
  /** Receives a transaction as a line of JSON without its newline. */
  readonly emit: (line: string) => void;
}

/**
 * Turns commits and their changes into transactions. A commit becomes one transaction if it fits, and otherwise
 * several. The last one puts the `commits` document, so that a reader that sees this document sees the whole commit.
 * Ids depend only on the repository's name, the commit and the part: loading a history again changes nothing.
 */
export class TransactionWriter implements HistoryHandler {
  readonly #options: TransactionWriterOptions;
  #header: CommitHeader | undefined;
  #ops: string[] = [];
  #bytes = 0;
  #part = 0;
  #changes = 0;

  constructor(options: TransactionWriterOptions) {
    this.#options = options;
  }

  commit(header: CommitHeader): void {
    this.end();
    this.#header = header;
  }

  put(path: Buffer, mode: string, oid: string): void {
    const name = pathName(path);
    this.#changes += 1;
    this.#add(JSON.stringify(["put", FILES, this.#key(name.name), fileDocument(name, mode, oid)]));
  }

  remove(path: Buffer): void {
    this.#changes += 1;
    this.#add(JSON.stringify(["delete", FILES, this.#key(pathName(path).name)]));
  }

  /** Completes the current commit, if there is one. */
  end(): void {
    const header = this.#header;
    if (header === undefined) return;
    const { number, parents } = this.#options.place(header.oid);
    const document = commitDocument(header, { number, parents, changes: this.#changes });
    this.#add(JSON.stringify(["put", COMMITS, this.#key(header.oid), document]));
    this.#write(header, this.#part === 0 ? "" : `:${this.#part + 1}`);
    this.#header = undefined;
    this.#part = 0;
    this.#changes = 0;
  }

  #key(name: string): string {
    return `${this.#options.name}/${name}`;
  }

  #add(op: string): void {
    const header = this.#header;
    if (header === undefined) throw new HistoryError("git diff-tree printed a change before any commit.");
    // One byte is added for the comma.
    const bytes = Buffer.byteLength(op) + 1;
    const limit = this.#options.maxBytes - this.#envelopeBytes(header);
    if (bytes > limit) {
      throw new HistoryError(
        `A document of commit ${header.oid} takes ${bytes} bytes, more than the ${limit} that fit one transaction.`,
      );
    }
    if (this.#bytes + bytes > limit) {
      this.#part += 1;
      this.#write(header, `:${this.#part}`);
    }
    this.#ops.push(op);
    this.#bytes += bytes;
  }

  #envelopeBytes(header: CommitHeader): number {
    // The percent-encoded name (up to nine characters for each UTF-16 unit), the id, and the braces.
    return this.#options.name.length * 3 * 3 + header.oid.length + 64;
  }

  #write(header: CommitHeader, part: string): void {
    // The id is also sent in protocol headers, which allow no special characters.
    const id = `git:${encodeURIComponent(this.#options.name)}:${header.oid}${part}`;
    this.#options.emit(`{"id":${JSON.stringify(id)},"ops":[${this.#ops.join(",")}]}`);
    this.#ops = [];
    this.#bytes = 0;
  }
}
