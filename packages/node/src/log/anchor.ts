import { createHash } from "node:crypto";
import { CairnError } from "@cairn/kv";
import type { LogBounds, LogMessage, TxLog } from "./tx-log.ts";

/**
 * A message by its position and the SHA-256 (hex) of its position, the log's own time of it and its payload. An index and a manifest
 * carry that of the last message they contain: a log that still holds it has, up to there, the same history. The payload alone would
 * not do: another history may have a message of the same bytes there.
 */
export interface Anchor {
  readonly position: number;
  readonly sha256: string;
}

/** The anchor that `message` is. */
export function anchorOf({ position, time, nanoseconds = 0, payload }: LogMessage): Anchor {
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head.writeBigUInt64BE(BigInt(position), 0);
  head.writeBigUInt64BE(BigInt(time) * 1_000_000n + BigInt(nanoseconds), 8);
  return { position, sha256: createHash("sha256").update(head).update(payload).digest("hex") };
}

/** Position, and time in nanoseconds since 1970. */
const HEAD_BYTES = 16;

/**
 * Whether a log with `bounds`, which holds `message` at the anchor's position (undefined: none there), continues the
 * history that ends at `anchor`. Undefined when it does, else the error that says why not: `LOG_REGRESSED` (the
 * position lies beyond the end, or holds another message), `LOG_TRIMMED` (before the first), `LOG_GAP` (a hole).
 */
export function judgeAnchor(
  logName: string,
  anchor: Anchor,
  bounds: LogBounds,
  message: LogMessage | undefined,
): CairnError | undefined {
  const { position } = anchor;
  if (message !== undefined) {
    return anchorOf(message).sha256 === anchor.sha256 ? undefined : otherMessage(logName, position);
  }
  if (position > bounds.last) {
    return new CairnError(
      "LOG_REGRESSED",
      `The log "${logName}" ends at message ${bounds.last}, but message ${position} was read from it before.`,
      {
        hint: "The log server lost the end of the log. Restore the server's data, or let the index be rebuilt.",
      },
    );
  }
  if (position < bounds.first) return trimmed(logName, position, bounds.first - 1);
  return gap(logName, position, position);
}

/** {@link judgeAnchor} on what `log` holds now. Rejects with `LOG_UNREACHABLE` when the log does not answer. */
export async function checkAnchor(log: TxLog, anchor: Anchor): Promise<CairnError | undefined> {
  const message = await log.fetch(anchor.position);
  // The bounds matter only to say what is wrong; asked for after the message, they cannot be older than its absence.
  const bounds =
    message === undefined ? await log.bounds() : { first: anchor.position, last: anchor.position };
  return judgeAnchor(log.name, anchor, bounds, message);
}

/** The error for an anchor's position that holds another message. */
export function otherMessage(logName: string, position: number): CairnError {
  return new CairnError(
    "LOG_REGRESSED",
    `Message ${position} of the log "${logName}" is not the one that was read there before.`,
    {
      hint: "The log server lost the end of the log and wrote a new one. The index has to be rebuilt from what agrees.",
    },
  );
}

/** The error for a log that was read from and is no longer there, on a server that answers. */
export function vanished(logName: string): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `The log "${logName}", which was read from, is not there any more.`,
    {
      hint: "Check whether its stream was deleted, and the server's address and data.",
    },
  );
}

/** The error for messages that were trimmed away before they were read. */
export function trimmed(logName: string, from: number, to: number): CairnError {
  const missing = from === to ? `message ${from}` : `messages ${from} to ${to}`;
  return new CairnError("LOG_TRIMMED", `The log "${logName}" no longer holds ${missing}.`, {
    hint: "Restore a checkpoint that is newer than what was trimmed.",
  });
}

/** The error for a trimming that would leave nothing. */
export function trimmedTooFar(logName: string, upTo: number, last: number): CairnError {
  return new CairnError(
    "CONFLICT",
    `The log "${logName}" ends at message ${last}, so it cannot be trimmed up to ${upTo}.`,
    {
      hint: "Nothing was removed. The message that the log is trimmed up to has to stay.",
    },
  );
}

/** The error for messages that the log counts and does not have. */
export function gap(logName: string, from: number, to: number): CairnError {
  const missing = from === to ? `message ${from} is` : `messages ${from} to ${to} are`;
  return new CairnError(
    "LOG_GAP",
    `In the log "${logName}" ${missing} missing, though it was written beyond that.`,
    {
      hint:
        "A ready node of this log can save a checkpoint beyond it: cairn checkpoint create there. This node looks again and again, " +
        "and goes on by itself. Without one, restore the log. Somebody deleted messages, or the log's files are damaged: find out which.",
    },
  );
}
