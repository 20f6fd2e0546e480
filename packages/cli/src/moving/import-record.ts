import { isUtf8 } from "node:buffer";
import { errorMessage } from "@cairn/kv";
import { parseJson, bucketProblem, keyProblem } from "@cairn/text";
import { documentProblem } from "@cairn/engine";
import { shorten } from "../terminal/columns.ts";
import { UsageError } from "../terminal/report-error.ts";

export interface ImportedDocument {
  readonly bucket: string;
  readonly namespace: string;
  readonly name: string;
  readonly json: string;
}

export interface ImportRefusal {
  readonly code: string;
  readonly message: string;
}

/** A record of the source of an import: a document, or the reason why it cannot become one. */
export interface ImportRecord {
  /** The record's key in the source, which identifies it in the report. */
  readonly sourceKey: string | { readonly base64: string };
  readonly result: ImportedDocument | ImportRefusal;
  /** True if the source removes the record by itself after some time. */
  readonly expires?: boolean;
}

export interface ImportSource {
  /** The records, in arrays whose size is bounded. */
  readonly records: AsyncIterable<readonly ImportRecord[]>;
  /** The number of records, or of bytes with {@link bytesRead}, if it is known when the import begins. */
  readonly total: number | undefined;
  /** Present if only the size of the source is known: returns the number of bytes that were read so far. */
  readonly bytesRead?: (() => number) | undefined;
  close(): void | Promise<void>;
}

/** A key with its value, as the stores from which records are imported return them. */
export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer | ImportRefusal;
  readonly expires: boolean;
}

export interface KeyValueSource extends Omit<ImportSource, "records"> {
  readonly pairs: AsyncIterable<readonly KeyValue[]>;
}

export function isRefusal(value: object): value is ImportRefusal {
  return "code" in value;
}

/** In characters; those of Cairn have up to 1,024 bytes, those of other stores even more. */
const MAX_KEY = 100;

/** Returns the key of a record, and why it was refused. */
export function nameRefused({ sourceKey }: ImportRecord, { message }: ImportRefusal): string {
  const key = typeof sourceKey === "string" ? sourceKey : JSON.stringify(sourceKey);
  return `${shorten(key, MAX_KEY)}: ${message}`;
}

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

export function checkedPlace(place: Place): Place | ImportRefusal {
  const problem = bucketProblem(place.bucket) ?? keyProblem(place.namespace, place.name);
  return problem === undefined ? place : refused(problem);
}

function refused(problem: string): ImportRefusal {
  return { code: "REQUEST_INVALID", message: `Not a valid key: ${problem}.` };
}

/** What becomes of values that are not JSON documents. */
export type OtherValues = "wrap" | "refuse";

/**
 * Returns the document for a value: the value if it is JSON that Cairn keeps exactly, else an object with one member,
 * `text` or `base64`, or a refusal.
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
  if (others === "wrap") {
    const text = stringOf(bytes);
    return { json: JSON.stringify(typeof text === "string" ? { text } : text) };
  }
  return {
    code: "TX_INVALID",
    message: `The value is not a JSON document that can be kept exactly: ${reason}.`,
  };
}

/** Returns bytes as text, or as `{"base64": …}` if they are not UTF-8. */
export function stringOf(bytes: Buffer): ImportRecord["sourceKey"] {
  return isUtf8(bytes) ? bytes.toString("utf8") : { base64: bytes.toString("base64") };
}
