import { CairnError } from "@cairn/kv";
import { documentProblem } from "@cairn/engine";
import { splitKey } from "@cairn/client/protocol";
import { parseJson } from "@cairn/text";
import { type NdjsonInput, openNdjson } from "../requests/export-lines.ts";
import type { Terminal } from "../terminal/terminal.ts";
import {
  checkedPlace,
  type ImportRecord,
  type ImportRefusal,
  type ImportSource,
  isRefusal,
  nameRefused,
  type Place,
  type Placement,
  placeOfKey,
} from "./import-record.ts";

/** The number of lines that may be refused before any other: an input may begin with a few, such as streams of Redis. */
const MAX_REFUSED_FIRST = 100;

/** Reads documents with their keys in the member `keyMember` or, without it, transactions that only put documents. */
export async function openNdjsonSource(
  path: string,
  terminal: Terminal,
  placement: Placement,
  keyMember: string | undefined,
): Promise<ImportSource> {
  const input = await openNdjson(path, terminal);
  const resultsOf = (line: unknown): ImportRecord["result"][] => {
    if (keyMember === undefined) return putsOf(line);
    return [documentAt(placeOfMember(line, keyMember, placement), line)];
  };
  const bytesRead = input.bytes === undefined ? undefined : input.bytesRead;
  const records = checkedBeginning(readRecords(input.lines, resultsOf), keyMember);
  return { records, total: input.bytes, bytesRead, close: input.close };
}

/** Throws if the input begins with refused lines only, as the options do not fit it: a report would name every line. */
async function* checkedBeginning(
  pages: AsyncIterable<ImportRecord[]>,
  keyMember: string | undefined,
): AsyncGenerator<ImportRecord[]> {
  let beginning: ImportRecord[] | undefined = [];
  for await (const page of pages) {
    if (beginning === undefined) {
      yield page;
      continue;
    }
    beginning = [...beginning, ...page];
    const first = beginning.slice(0, MAX_REFUSED_FIRST);
    if (first.some(({ result }) => !isRefusal(result))) {
      yield beginning;
      beginning = undefined;
    } else if (first.length === MAX_REFUSED_FIRST) break;
  }
  const [first] = beginning ?? [];
  if (first === undefined || !isRefusal(first.result)) return;
  throw new CairnError(
    "TX_INVALID",
    `Nothing was imported, because the input begins with lines that cannot be. The first is ${nameRefused(first, first.result)}`,
    keyMember === undefined
      ? "Each line must be a transaction that only puts documents, as in an export. If each line is a document, name the member that contains its key with --key-member, and a bucket with --bucket. cairn load stores other transactions."
      : "Each line must be a document with the member that --key-member names, whose value is a key. Omit --key-member, --bucket and --key-pattern for an export.",
  );
}

async function* readRecords(
  pages: NdjsonInput["lines"],
  resultsOf: (line: unknown) => ImportRecord["result"][],
): AsyncGenerator<ImportRecord[]> {
  for await (const lines of pages) {
    yield lines.flatMap(({ number, bytes }) => {
      const sourceKey = `line ${number}`;
      try {
        return resultsOf(parseJson(bytes)).map((result) => ({ sourceKey, result }));
      } catch (error) {
        if (!(error instanceof CairnError)) throw error;
        const message = error.message.replace(/^The body /, "The line ");
        return [{ sourceKey, result: { code: error.code, message } }];
      }
    });
  }
}

function placeOfMember(line: unknown, member: string, placement: Placement): Place | ImportRefusal {
  const isObject = typeof line === "object" && line !== null && Object.hasOwn(line, member);
  const key = isObject ? (line as Readonly<Record<string, unknown>>)[member] : undefined;
  if (typeof key === "string" && !key.isWellFormed()) return invalid("Its key is not valid Unicode.");
  if (typeof key === "string" || typeof key === "number")
    return placeOfKey(Buffer.from(String(key)), placement);
  return invalid(`It has no member ${JSON.stringify(member)} with a string or a number.`);
}

function putsOf(line: unknown): ImportRecord["result"][] {
  const ops = typeof line === "object" && line !== null && "ops" in line ? line.ops : undefined;
  if (!Array.isArray(ops) || !ops.every(isPut)) return [invalid(NOT_PUTS)];
  return ops.map(([, bucket, key, document]) =>
    documentAt(checkedPlace({ bucket, ...splitKey(key) }), document),
  );
}

function documentAt(place: Place | ImportRefusal, document: unknown): ImportRecord["result"] {
  if (isRefusal(place)) return place;
  // What is nested too deeply cannot be written as JSON again.
  const problem = documentProblem(document);
  return problem === undefined
    ? { ...place, json: JSON.stringify(document) }
    : invalid(`It cannot be stored: ${problem}.`);
}

const NOT_PUTS = "It is not a transaction that only puts documents.";

type Put = readonly ["put", bucket: string, key: string, document: unknown];

function isPut(op: unknown): op is Put {
  if (!Array.isArray(op) || op.length !== 4) return false;
  const [kind, bucket, key] = op as unknown[];
  return kind === "put" && typeof bucket === "string" && typeof key === "string";
}

function invalid(message: string): ImportRefusal {
  return { code: "TX_INVALID", message };
}
