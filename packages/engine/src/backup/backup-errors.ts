import { CairnError, isCairnError } from "@cairn/kv";
import { UNUSABLE_SEGMENT } from "./segments/read-segment.ts";

/** The codes of errors for which a backup is as good as none to those who can do without it. */
export const UNREADABLE = ["LOG_UNREACHABLE", ...UNUSABLE_SEGMENT] as const;

/** To a log's readers, a failing store is an unreachable log. */
export async function inLogTerms<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isCairnError(error) || !error.code.startsWith("STORE_")) throw error;
    const { message, hint } = error;
    throw new CairnError("LOG_UNREACHABLE", `The log backup cannot be read: ${message}`, {
      hint,
      cause: error,
    });
  }
}

export function readOnly(location: string): CairnError {
  return new CairnError(
    "LOG_READ_ONLY",
    `This node reads its log from the backup in ${location}, so it accepts no transactions.`,
    "Send transactions to a node that has access to the log itself.",
  );
}
