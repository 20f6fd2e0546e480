import { BACKSLASH, QUOTE } from "./json-members.ts";
import { asBuffer } from "../rows/row-keys.ts";

/** The number of slots, which must be a power of two. */
const SLOTS = 1_024;
/** The maximum number of bytes of a cached value. Values of indexed fields are short. */
const MAX_CACHED_BYTES = 64;

interface KnownText {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/**
 * A bounded cache of strings decoded from JSON. Indexed fields have few distinct values, a comparison of bytes costs a
 * third as much as decoding a string, and a map finds a string that was looked up before faster than a new one.
 */
export class KnownTexts {
  readonly #known: (KnownText | undefined)[] = Array.from({ length: SLOTS }, () => undefined);

  /**
   * Returns the string in `json` from `begin` up to but not including `end`; undefined if these bytes are not a string
   * or contain an escape.
   */
  textAt(json: Uint8Array, begin: number, end: number): string | undefined {
    if (json[begin] !== QUOTE || json[end - 1] !== QUOTE || end - begin < 2) return undefined;
    let hash = 0;
    for (let at = begin + 1; at < end - 1; at++) {
      const byte = json[at] ?? 0;
      if (byte === BACKSLASH) return undefined;
      hash = Math.imul(hash ^ byte, 0x01000193);
    }
    if (end - begin > MAX_CACHED_BYTES) return textOf(json, begin, end);
    const place = (hash ^ (hash >>> 15)) & (SLOTS - 1);
    const known = this.#known[place];
    if (known !== undefined && isAt(known.bytes, json, begin + 1, end - 1)) return known.text;
    const text = textOf(json, begin, end);
    // The bytes are copied, so that the message can be freed.
    this.#known[place] = { bytes: json.slice(begin + 1, end - 1), text };
    return text;
  }
}

function textOf(json: Uint8Array, begin: number, end: number): string {
  return asBuffer(json).toString("utf8", begin + 1, end - 1);
}

function isAt(bytes: Uint8Array, json: Uint8Array, begin: number, end: number): boolean {
  if (bytes.length !== end - begin) return false;
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== json[begin + at]) return false;
  return true;
}
