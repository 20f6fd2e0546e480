import type { KnownCode } from "./error-codes.ts";
import type { Position, TxId } from "./transaction.ts";

/**
 * The error of a failed call. If a node returned it, it has the HTTP `status` and the node's `code`, which
 * docs/errors.md explains; a later version may have others. If no node responded, its `code` is `UNREACHABLE` and its
 * `status` is 0. `details` contains the other fields of the response body, such as `txId` or `floor`.
 */
export class CairnClientError extends Error {
  readonly code: string;
  readonly status: number;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    message: string,
    options: {
      readonly status?: number;
      readonly hint?: string | undefined;
      readonly details?: Readonly<Record<string, unknown>>;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CairnClientError";
    this.code = code;
    this.status = options.status ?? 0;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}

/** The details of the errors with these codes. */
export interface ErrorDetails {
  /** `floor` is the earliest position at which a watch can begin. */
  readonly WATCH_COMPACTED: { readonly floor?: Position; readonly reason?: "compacted" | "regressed" };
  /** The transaction that was refused. */
  readonly CONFLICT: { readonly txId?: TxId };
  /** The transaction, if the log has stored it; otherwise, the outcome is unknown. */
  readonly TX_TIMEOUT: { readonly txId?: TxId };
  readonly TX_TOO_LARGE: { readonly limit?: number };
  /** Where a value is that JSON would change, such as `list[1].at`; in a transaction, `ops[0][3].list[1].at`. */
  readonly TX_INVALID: { readonly path?: string };
  /** The key of the document, and what its schema reports about it. A path is like that of TX_INVALID. */
  readonly DOCUMENT_INVALID: {
    readonly key: string;
    readonly issues: readonly { readonly path: string; readonly message: string }[];
  };
}

/** An error of Cairn with one of these codes: of a client, a node in the process, or a configuration. */
export interface ErrorWithCode<Code extends KnownCode> extends Error {
  readonly code: Code;
  readonly hint: string | undefined;
  readonly details: DetailsOf<Code>;
}

/** Returns whether an error is one of Cairn's with one of these codes, and narrows the type of its details to theirs. */
export function hasCode<Code extends KnownCode>(
  error: unknown,
  ...codes: readonly Code[]
): error is ErrorWithCode<Code> {
  // The errors of other programs have other codes (ENOENT), and no details.
  if (!(error instanceof Error && "code" in error && "details" in error)) return false;
  return codes.some((code) => code === error.code);
}

type DetailsOf<Code> = Code extends keyof ErrorDetails ? ErrorDetails[Code] : unknown;

/** Returns the error `UNREACHABLE`, which means that no node responded. `url` is the last address that was tried. */
export function unreachable(url: string, cause: unknown): CairnClientError {
  const reason =
    cause instanceof Error ? (cause.cause instanceof Error ? cause.cause : cause).message : String(cause);
  return new CairnClientError("UNREACHABLE", `No Cairn node responds at ${url} (${reason}).`, {
    hint: "Check the addresses, and make sure that a node is running there.",
    cause,
  });
}
