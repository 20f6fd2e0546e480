import type { Revision, TxOperation } from "@cairn/client";
import { requiredRevision } from "../requests/preconditions.ts";
import { submit, type WriteCall } from "./await-tx.ts";

/**
 * Submits a write and, unless the request has `await=false`, waits until it is indexed. `operations` returns its
 * operations, which require a revision (null: none may exist) unless it is undefined.
 */
export async function writeConditionally(
  call: WriteCall,
  operations: (required: Revision | null | undefined) => readonly TxOperation[],
): ReturnType<typeof submit> {
  return await submit(call, { ops: operations(requiredRevision(call.request)) });
}
