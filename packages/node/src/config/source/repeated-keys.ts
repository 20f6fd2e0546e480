import { createScanner } from "jsonc-parser";
import { placeOf } from "./config-tree.ts";
import { SourceText } from "./source-text.ts";
import type { PolicyProblem } from "../../policies/policy-problems.ts";

// The enums of jsonc-parser are ambient const enums, which isolated modules cannot read, but their numbers are part of
// its public types.
const SYNTAX = {
  openBrace: 1,
  closeBrace: 2,
  openBracket: 3,
  closeBracket: 4,
  comma: 5,
  colon: 6,
  text: 10,
  endOfFile: 17,
} as const;

/** An open map or list: its keys so far, and the current position in it. */
interface Level {
  readonly keys: Set<string> | undefined;
  at: string;
}

/**
 * Returns the repeated keys in the maps of the valid JSON `json`. JSON.parse would silently keep only the last of them.
 * `label` names the source in messages. The function is not recursive, so the nesting may be deep.
 */
export function repeatedKeys(json: string, label: string): PolicyProblem[] {
  const source = new SourceText("file", label, json);
  const scanner = createScanner(source.text, true);
  const problems: PolicyProblem[] = [];
  const levels: Level[] = [];
  let text = "";
  let offset = 0;
  for (let token: number = scanner.scan(); token !== SYNTAX.endOfFile; token = scanner.scan()) {
    const level = levels.at(-1);
    if (token === SYNTAX.openBrace) levels.push({ keys: new Set(), at: "" });
    else if (token === SYNTAX.openBracket) levels.push({ keys: undefined, at: "0" });
    else if (token === SYNTAX.closeBrace || token === SYNTAX.closeBracket) levels.pop();
    else if (token === SYNTAX.text) {
      text = scanner.getTokenValue();
      offset = scanner.getTokenOffset();
    } else if (token === SYNTAX.comma && level !== undefined && level.keys === undefined) {
      level.at = String(Number(level.at) + 1);
    } else if (token === SYNTAX.colon && level?.keys !== undefined) {
      level.at = text;
      if (level.keys.has(text)) {
        const place = placeOf(source.originAt(offset));
        const message = `This key is repeated at ${place}; keep one of the two.`;
        problems.push({ path: levels.map(({ at }) => at), message });
      }
      level.keys.add(text);
    }
  }
  return problems;
}
