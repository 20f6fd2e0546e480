import { BACKSLASH, QUOTE } from "./json-members.ts";
import { asBuffer } from "../rows/row-keys.ts";

/** A power of two. */
const PLACES = 1_024;
/** In bytes. What indexed fields hold is short. */
const LONGEST = 64;

interface KnownText {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/**
 * Texts that were seen before in JSON, so many and no more. Indexed fields hold the same few values again and again: comparing bytes
 * costs a third of making a string, and one that is kept is found in a map at once.
 */
export class KnownTexts {
  readonly #known: (KnownText | undefined)[] = Array.from({ length: PLACES }, () => undefined);

  /** The text that is all of `json` from `begin` to before `end`; undefined where that is no text, or one with an escape. */
  textAt(json: Uint8Array, begin: number, end: number): string | undefined {
    if (json[begin] !== QUOTE || json[end - 1] !== QUOTE || end - begin < 2) return undefined;
    let hash = 0;
    for (let at = begin + 1; at < end - 1; at++) {
      const byte = json[at] ?? 0;
      if (byte === BACKSLASH) return undefined;
      hash = Math.imul(hash ^ byte, 0x01000193);
    }
    if (end - begin > LONGEST) return textOf(json, begin, end);
    const place = (hash ^ (hash >>> 15)) & (PLACES - 1);
    const known = this.#known[place];
    if (known !== undefined && isAt(known.bytes, json, begin + 1, end - 1)) return known.text;
    const text = textOf(json, begin, end);
    // A copy: the message is not to live as long.
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
