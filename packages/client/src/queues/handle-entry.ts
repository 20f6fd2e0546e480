import { jsonProblem } from "../types/json-problem.ts";
import type { QueueEntry } from "../types/queues.ts";
import type { Json } from "../types/transaction.ts";
import type { EntryHandler } from "./director-options.ts";

/** What a handler made of an entry: its new document, undefined for none, or the reason why the attempt failed. */
export type Handled = { readonly document: Json | undefined } | { readonly error: Error };

/** Has an entry handled. Never rejects, whatever the handler returns or throws: an attempt fails, not a director. */
export async function handleEntry(
  handle: EntryHandler,
  entry: QueueEntry,
  signal: AbortSignal,
): Promise<Handled> {
  try {
    const result: unknown = await handle(entry, signal);
    if (result === undefined) return { document: undefined };
    const problem = jsonProblem("what the handler returned", result);
    if (problem !== undefined) return { error: new Error(`The document cannot be stored: ${problem}.`) };
    // The handler may go on to change what it returned.
    return { document: JSON.parse(JSON.stringify(result)) as Json };
  } catch (thrown) {
    return { error: asError(thrown) };
  }
}

/** Returns what was thrown as an error with a message. Anything can be thrown, and not everything has a text. */
export function asError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error && typeof thrown.message === "string") return thrown;
    return new Error(String(thrown));
  } catch {
    return new Error("A value without a text was thrown.");
  }
}
