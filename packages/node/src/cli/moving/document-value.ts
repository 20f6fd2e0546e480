import { isUtf8 } from "node:buffer";
import { errorMessage } from "@cairn/kv";
import { parseJson } from "../../http/requests/faithful-json.ts";
import { documentProblem } from "../../transactions/validate-transaction.ts";
import type { ImportRefusal } from "./import-record.ts";

/** What becomes of values that are not JSON documents. */
export type OtherValues = "wrap" | "refuse";

/**
 * Returns the document for a value as JSON. A value that is JSON is the document itself, provided that Cairn keeps it
 * exactly. Any other value is wrapped in an object with one member, `text` or `base64`, or refused.
 */
export function documentOf(bytes: Buffer, others: OtherValues): { readonly json: string } | ImportRefusal {
  let reason = "it is blank";
  try {
    const value = parseJson(bytes);
    const problem = value === undefined ? reason : documentProblem(value);
    if (problem === undefined) return { json: JSON.stringify(value) };
    reason = problem;
  } catch (error) {
    reason = errorMessage(error).replace(/\.$/, "");
  }
  if (others === "wrap") return { json: JSON.stringify(stringOf(bytes, (text) => ({ text }))) };
  return {
    code: "TX_INVALID",
    message: `The value is not a JSON document that can be kept exactly: ${reason}.`,
  };
}

/** Returns bytes as text in the form that `wrap` gives it, or as `{"base64": …}` if they are not UTF-8. */
export function stringOf(bytes: Buffer, wrap: (text: string) => unknown = (text) => text): unknown {
  return isUtf8(bytes) ? wrap(bytes.toString("utf8")) : { base64: bytes.toString("base64") };
}
