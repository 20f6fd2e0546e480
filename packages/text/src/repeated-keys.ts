import { jsonParts } from "./json-parts.ts";

/** Returns the repeated keys in the maps of the valid JSON `json`. `label` names the source in messages. */
export function repeatedKeys(json: string, label: string): { path: string[]; message: string }[] {
  const problems = [];
  let [line, lineStart, lineEnd] = [1, 0, json.indexOf("\n")];
  for (const { isRepeated, from, path } of jsonParts(json)) {
    if (!isRepeated) continue;
    while (lineEnd >= 0 && lineEnd < from)
      [line, lineStart, lineEnd] = [line + 1, lineEnd + 1, json.indexOf("\n", lineEnd + 1)];
    const message = `This key is repeated at ${label}:${line}:${from - lineStart + 1}; keep one of the two.`;
    problems.push({ path: path().map(String), message });
  }
  return problems;
}
