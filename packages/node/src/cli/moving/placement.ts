import { isUtf8 } from "node:buffer";
import { errorMessage } from "@cairn/kv";
import { bucketProblem, keyProblem } from "../../text/document-key.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { ImportedDocument, ImportRefusal } from "./import-record.ts";

export type Place = Omit<ImportedDocument, "json">;

/** How the keys of a source become addresses of documents. */
export interface Placement {
  readonly bucket: string;
  readonly namespace: string;
  /** An expression whose named groups are parts of the address. */
  readonly pattern: RegExp | undefined;
}

const GROUPS = new Set(["bucket", "namespace", "name"]);
const EXAMPLE = String.raw`'^/registry/(?<bucket>[a-z]+)/(?<namespace>[^/]+)/(?<name>.+)$'`;

export function parseKeyPattern(text: string): RegExp {
  let pattern: RegExp;
  try {
    pattern = new RegExp(text, "u");
  } catch (error) {
    throw new UsageError(`--key-pattern is not a regular expression: ${errorMessage(error)}.`, PATTERN_HINT);
  }
  const groups = Array.from(text.matchAll(/\(\?<(\w+)>/g), ([, name = ""]) => name);
  if (groups.includes("name") && groups.every((name) => GROUPS.has(name))) return pattern;
  throw new UsageError(
    "--key-pattern must have the group name, and no groups but bucket, namespace and name.",
    PATTERN_HINT,
  );
}

const PATTERN_HINT = `Write, for example, --key-pattern ${EXAMPLE}.`;

/** Returns the address of the document for a key, or the reason why there is none. */
export function placeOfKey(key: Buffer, { bucket, namespace, pattern }: Placement): Place | ImportRefusal {
  if (!isUtf8(key)) return refused("the key is not valid UTF-8");
  const text = key.toString("utf8");
  if (pattern === undefined) return checkedPlace({ bucket, namespace, name: text });
  const match = pattern.exec(text);
  if (match === null) return refused("the key does not match --key-pattern");
  const { groups = {} } = match;
  return checkedPlace({
    bucket: groups["bucket"] ?? bucket,
    namespace: groups["namespace"] ?? namespace,
    name: groups["name"] ?? "",
  });
}

/** Returns the address, or the reason why it is not valid. */
export function checkedPlace(place: Place): Place | ImportRefusal {
  const problem = bucketProblem(place.bucket) ?? keyProblem(place.namespace, place.name);
  return problem === undefined ? place : refused(problem);
}

function refused(problem: string): ImportRefusal {
  return { code: "REQUEST_INVALID", message: `Not a valid key: ${problem}.` };
}
