import { isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { HistoryError } from "./history-error.ts";

/** The maximum length of a document's name, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 1024;

/** The name of a path's document. `full` is present only if the name was shortened, and is the name without shortening. */
export interface PathName {
  readonly name: string;
  readonly full?: string;
}

const PERCENT = 0x25;
const ESCAPE = /%(?:25|[89A-F][0-9A-F])/g;
const SHORTENED = "%~";
const DIGEST_CHARACTERS = 64;

/**
 * Returns the name of the document of `path`. Paths in UTF-8 are unchanged, except that a `%` before `25`, `80` to `FF`
 * or `~` becomes `%25`; a byte that is not UTF-8 becomes `%80` to `%FF`. These sequences have no other origin, so no
 * two paths have the same name. A name of more than 1,024 bytes is cut, and ends with `%~` and the path's SHA-256.
 */
export function pathName(path: Buffer): PathName {
  const full = escapePath(path);
  // A UTF-16 unit takes at most three bytes, so most names need no counting.
  if (full.length * 3 <= MAX_NAME_BYTES || Buffer.byteLength(full) <= MAX_NAME_BYTES) return { name: full };
  const digest = createHash("sha256").update(path).digest("hex");
  const kept = beginning(full, MAX_NAME_BYTES - SHORTENED.length - DIGEST_CHARACTERS);
  return { name: `${kept}${SHORTENED}${digest}`, full };
}

/** Returns the path with this name: the inverse of {@link pathName}. Throws a {@link HistoryError} for a shortened name. */
export function pathOfName(name: string): Buffer {
  if (name.includes(SHORTENED)) {
    throw new HistoryError(`The name ${name} was shortened, so the path cannot be derived from it.`, {
      hint: "Use the `path` of its document.",
    });
  }
  const parts: Buffer[] = [];
  let from = 0;
  for (const match of name.matchAll(ESCAPE)) {
    parts.push(Buffer.from(name.slice(from, match.index)), Buffer.from(match[0].slice(1), "hex"));
    from = match.index + match[0].length;
  }
  parts.push(Buffer.from(name.slice(from)));
  return Buffer.concat(parts);
}

function escapePath(path: Buffer): string {
  if (!path.includes(PERCENT) && isUtf8(path)) return path.toString("utf8");
  let escaped = "";
  for (let at = 0; at < path.length;) {
    const length = sequenceLength(path, at);
    const byte = path[at] ?? 0;
    if (length === 0) escaped += `%${byte.toString(16).toUpperCase()}`;
    else if (byte === PERCENT) escaped += looksEscaped(path, at) ? "%25" : "%";
    else escaped += path.toString("utf8", at, at + length);
    at += Math.max(length, 1);
  }
  return escaped;
}

function looksEscaped(path: Buffer, at: number): boolean {
  return /^%(?:25|[89A-F][0-9A-F]|~)/.test(path.toString("latin1", at, at + 3));
}

/**
 * Returns the length of the well-formed UTF-8 sequence at `at`, or 0 if there is none (Unicode 15, table 3-7: no overlong forms, no
 * surrogates, nothing above U+10FFFF).
 */
function sequenceLength(bytes: Buffer, at: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) return 1;
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  return length > 0 && at + length <= bytes.length && isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}

function beginning(text: string, maxBytes: number): string {
  let bytes = 0;
  let end = 0;
  for (const part of text.match(/%25|%[89A-F][0-9A-F]|./gsu) ?? []) {
    bytes += Buffer.byteLength(part);
    if (bytes > maxBytes) break;
    end += part.length;
  }
  return text.slice(0, end);
}
