import { CairnError } from "@cairn/kv";
import { splitKey } from "@cairn/client/protocol";
import { parseJson } from "../../http/requests/faithful-json.ts";
import { ndjsonLines } from "../../http/requests/ndjson-lines.ts";
import { openNdjson } from "../requests/ndjson-input.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { type ImportRecord, type ImportSource, isRefusal, type ImportRefusal } from "./import-record.ts";
import { checkedPlace, type Place, type Placement, placeOfKey } from "./placement.ts";

/** How a line becomes a document: as a document with its key in a member, or as a transaction that puts documents. */
export interface NdjsonOptions {
  readonly placement: Placement;
  /** The member with the key of the document. If it is missing, lines are transactions. */
  readonly keyMember: string | undefined;
}

const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** Reads the documents of an NDJSON file: an export, other transactions that only put documents, or plain documents. */
export async function openNdjsonSource(
  path: string,
  terminal: Terminal,
  options: NdjsonOptions,
): Promise<ImportSource> {
  const input = await openNdjson(path, terminal);
  return { records: readRecords(input.lines, options), total: undefined, close: input.close };
}

async function* readRecords(
  source: AsyncIterable<Buffer>,
  options: NdjsonOptions,
): AsyncGenerator<ImportRecord[]> {
  for await (const lines of ndjsonLines(source, MAX_LINE_BYTES, tooLong)) {
    yield lines.flatMap(({ number, bytes }) => {
      const sourceKey = `line ${number}`;
      try {
        return resultsOf(parseJson(bytes), options).map((result) => ({ sourceKey, result }));
      } catch (error) {
        if (!(error instanceof CairnError)) throw error;
        return [
          {
            sourceKey,
            result: { code: error.code, message: error.message.replace(/^The body /, "The line ") },
          },
        ];
      }
    });
  }
}

function resultsOf(line: unknown, { placement, keyMember }: NdjsonOptions): ImportRecord["result"][] {
  if (keyMember === undefined) return putsOf(line);
  const place = placeOfMember(line, keyMember, placement);
  return [isRefusal(place) ? place : { ...place, json: JSON.stringify(line) }];
}

function placeOfMember(line: unknown, member: string, placement: Placement): Place | ImportRefusal {
  const isObject = typeof line === "object" && line !== null && Object.hasOwn(line, member);
  const key = isObject ? (line as Readonly<Record<string, unknown>>)[member] : undefined;
  if (typeof key === "string" && !key.isWellFormed()) return invalid("Its key is not valid Unicode.");
  if (typeof key === "string" || typeof key === "number")
    return placeOfKey(Buffer.from(String(key)), placement);
  return invalid(`It has no member ${JSON.stringify(member)} with a string or a number.`);
}

/** Returns the documents that a transaction puts. */
function putsOf(line: unknown): ImportRecord["result"][] {
  const ops = typeof line === "object" && line !== null && "ops" in line ? line.ops : undefined;
  if (!Array.isArray(ops) || !ops.every(isPut)) return [invalid(NOT_PUTS)];
  return ops.map(([, bucket, key, document]) => {
    const place = checkedPlace({ bucket, ...splitKey(key) });
    return isRefusal(place) ? place : { ...place, json: JSON.stringify(document) };
  });
}

const NOT_PUTS =
  "The line is not a transaction that only puts documents. cairn load stores other transactions, and --key-member imports plain documents.";

type Put = readonly ["put", bucket: string, key: string, document: unknown];

function isPut(op: unknown): op is Put {
  if (!Array.isArray(op) || op.length !== 4) return false;
  const [kind, bucket, key] = op as unknown[];
  return kind === "put" && typeof bucket === "string" && typeof key === "string";
}

function invalid(message: string): ImportRefusal {
  return { code: "TX_INVALID", message };
}

function tooLong(line: number): CairnError {
  return new CairnError("TX_TOO_LARGE", `Line ${line} is longer than ${MAX_LINE_BYTES} bytes.`, {
    hint: "Write one document per line, as NDJSON requires.",
  });
}
