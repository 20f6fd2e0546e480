import type { Position, TxId } from "@cairn/client";
import { badValue } from "./times.ts";

/** A place in a history: after a transaction, whose message has this mark (in hex). */
export interface MarkedPlace {
  readonly txId: TxId;
  readonly mark: string;
}

/** Before the first transaction, where all histories agree. */
const BEGINNING: Position = "0";

export const POSITION_PATTERN = "^(0|[1-9][0-9]{0,14}-[0-9a-f]{12})$";
const POSITION = new RegExp(POSITION_PATTERN);

export function formatPosition({ txId, mark }: MarkedPlace): Position {
  return txId === 0 ? BEGINNING : `${txId}-${mark}`;
}

/** Parses a position. Throws `REQUEST_INVALID` for anything else, such as a transaction's id alone. */
export function parsePosition(text: string, name: string): MarkedPlace {
  const [digits, mark = ""] = text.split("-");
  if (POSITION.test(text)) return { txId: Number(digits), mark };
  throw badValue(
    `${name} must be a position, not ${JSON.stringify(text)}.`,
    /^\d+$/.test(text)
      ? `After a log has lost its end, other transactions have the same ids. Use the position that came with the transaction (cairn tx show ${text} prints the present one), or 0 for the beginning of the log.`
      : "Use a position as a list, a watch or an outcome returned it, or 0 for the beginning of the log.",
  );
}
