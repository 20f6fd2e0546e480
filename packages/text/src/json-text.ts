import { LIMITS } from "@cairn/client/protocol";
import { closingQuote } from "./json-parts.ts";

export const MAX_JSON_DEPTH = LIMITS.jsonDepth;

/** Returns the value of JSON; undefined if the text is not JSON. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * Returns whether a line is exactly one JSON value, without carriage returns and nested at most {@link MAX_JSON_DEPTH}
 * deep.
 */
export function isJsonLine(line: string): boolean {
  if (line.includes("\r") || parsedJson(line) === undefined) return false;
  // A shorter line does not have enough brackets.
  return line.length < 2 * MAX_JSON_DEPTH || depthOf(line) <= MAX_JSON_DEPTH;
}

/** Returns how deep the lists and maps of valid JSON are nested. */
function depthOf(json: string): number {
  let deepest = 0;
  let depth = 0;
  for (let at = 0; at < json.length; at += 1) {
    const character = json.charAt(at);
    if (character === '"') at = closingQuote(json, at);
    else if (character === "[" || character === "{") deepest = Math.max(deepest, (depth += 1));
    else if (character === "]" || character === "}") depth -= 1;
  }
  return deepest;
}
