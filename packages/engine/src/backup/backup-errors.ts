import { CairnError, isCairnError } from "@cairn/kv";

/** To a log's readers, a failing store is an unreachable log. */
export async function inLogTerms<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isCairnError(error) || !error.code.startsWith("STORE_")) throw error;
    throw new CairnError("LOG_UNREACHABLE", `The log backup cannot be read: ${error.message}`, {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}

/** Returns `LOG_READ_ONLY`: nothing can be appended to a backup. */
export function readOnly(location: string): CairnError {
  return new CairnError(
    "LOG_READ_ONLY",
    `This node reads its log from the backup in ${location}, so it accepts no transactions.`,
    "Send transactions to a node that has access to the log itself.",
  );
}
