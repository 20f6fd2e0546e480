import type { ErrorCode } from "./error-code.ts";

/**
 * What a node answered instead of what was asked for, with its code (docs/errors.md) and status; or that none answered: then `code`
 * is `UNREACHABLE` and `status` 0. `details` is what stood beside the error in the body, such as `txId` or `floor`.
 */
export class CairnClientError extends Error {
  readonly code: ErrorCode | "UNREACHABLE";
  readonly status: number;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode | "UNREACHABLE",
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

/** No node gave an answer; `cause` is why the last one did not. */
export function unreachable(url: string, cause: unknown): CairnClientError {
  const why =
    cause instanceof Error ? (cause.cause instanceof Error ? cause.cause : cause).message : String(cause);
  return new CairnClientError("UNREACHABLE", `No Cairn node answers at ${url} (${why}).`, {
    hint: "Check the addresses, and that a node is running there.",
    cause,
  });
}

/** The error in an answer of status 400 and above. */
export function answeredError(url: string, status: number, text: string): CairnClientError {
  const body = parse(text);
  const error = isObject(body) ? body["error"] : undefined;
  if (!isObject(body) || !isObject(error) || typeof error["code"] !== "string") {
    // A proxy's page, for example: nobody knows whether a node ever saw the request.
    return unreachable(url, new Error(`the answer with status ${status} is not a node's`));
  }
  const { error: _, ...details } = body;
  const hint = typeof error["hint"] === "string" ? error["hint"] : undefined;
  return new CairnClientError(error["code"] as ErrorCode, String(error["message"]), {
    status,
    hint,
    details,
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
