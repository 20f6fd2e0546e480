import { CairnClientError } from "./types/client-error.ts";

/** Escapes a part of an address. Throws `REQUEST_INVALID` for half a surrogate pair. */
export function escaped(part: string | number | boolean): string {
  try {
    return encodeURIComponent(part);
  } catch (cause) {
    const message = `${JSON.stringify(part)} is not valid Unicode.`;
    const hint = "Nothing was sent. Names, keys and parameters must not contain half a surrogate pair.";
    throw new CairnClientError("REQUEST_INVALID", message, { hint, cause });
  }
}

/** Escapes the name of a bucket, queue or index. What is not text would be another name, such as `undefined`. */
export function escapedName(name: string): string {
  if (typeof name === "string") return escaped(name);
  const message = `The name of a bucket, queue or index is text, not ${String(name)}.`;
  throw new CairnClientError("REQUEST_INVALID", message, { hint: "Nothing was sent. Give the call a name." });
}
