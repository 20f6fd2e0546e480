import { createHash, type Hash } from "node:crypto";
import { CairnError, isCairnError } from "@cairn/kv";
import { foreignText, type NdjsonLine, parsedJson } from "@cairn/text";
import { openInput } from "../terminal/input.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { joinLines, readLines } from "./ndjson-chunks.ts";

export interface ExportHeader {
  readonly format: 1;
  /** The transaction as of which the documents were exported. */
  readonly txId: number;
  /** The exported bucket; null if all buckets were exported. */
  readonly bucket: string | null;
}

/** The last line of an export, which shows that the export is complete. */
export interface ExportSummary {
  readonly documents: number;
  /** The SHA-256 of the lines between the first and the last one, including their line feeds, but no carriage returns or blank lines. */
  readonly digest: string;
}

type Lines = AsyncIterable<readonly NdjsonLine[]>;

/** What some editors write before text in UTF-8. */
const BYTE_ORDER_MARK = "\u00EF\u00BB\u00BF";
const FIRST = '{"cairn-export":';
const LAST = '{"cairn-export-end":';

const REPEAT = "Repeat the export, and use its whole output.";

/** Writes the lines of an export, and computes their digest. */
export class ExportWriter {
  readonly #hash = createHash("sha256");
  #documents = 0;

  first(header: ExportHeader): string {
    return `${FIRST}${JSON.stringify(header)}}\n`;
  }

  /** Returns a line with a transaction that puts the document. `key` is `namespace/name`. */
  line(bucket: string, key: string, document: unknown): string {
    const line = `${JSON.stringify({ ops: [["put", bucket, key, document]] })}\n`;
    this.#hash.update(line);
    this.#documents += 1;
    return line;
  }

  get summary(): ExportSummary {
    return { documents: this.#documents, digest: digestOf(this.#hash) };
  }

  last(): string {
    return `${LAST}${JSON.stringify(this.summary)}}\n`;
  }
}

/**
 * Returns the lines of NDJSON, without the first and the last one of an export. Throws `EXPORT_DAMAGED` if these do not
 * match what is between them. An export yields an empty page first, and other input none.
 */
export async function* checkedExport(pages: Lines): Lines {
  const hash = createHash("sha256");
  let isExport: boolean | undefined;
  let documents = 0;
  let held: readonly NdjsonLine[] = [];
  for await (const page of pages) {
    if (isExport === undefined) {
      isExport = beginsExport(page);
      if (isExport) yield [];
      held = isExport ? page.slice(1) : [];
    } else held = [...held, ...page];
    if (!isExport) {
      yield page;
      continue;
    }
    // This may be the last line.
    const lines = held.slice(0, -1);
    held = held.slice(-1);
    const end = lines.find(({ bytes }) => startsWith(bytes, LAST));
    if (end !== undefined)
      throw damaged(
        `The export ends in line ${end.number}, but other lines follow.`,
        `Write what is after line ${end.number} to another file.`,
      );
    hash.update(joinLines(lines));
    documents += lines.length;
    yield lines;
  }
  if (isExport === true) compareSummary(held[0]?.bytes.toString("utf8") ?? "", documents, hash);
}

/** Returns whether these are the first lines of an export. Throws `TX_INVALID` for what is not text in UTF-8. */
function beginsExport([first]: readonly NdjsonLine[]): boolean {
  if (first === undefined) return false;
  const foreign = foreignText(first.bytes);
  if (foreign !== undefined)
    throw new CairnError("TX_INVALID", `The input is not text in UTF-8: ${foreign.what}.`, foreign.hint);
  const { bytes } = first;
  const line = startsWith(bytes, BYTE_ORDER_MARK) ? bytes.subarray(BYTE_ORDER_MARK.length) : bytes;
  if (!startsWith(line, FIRST)) return false;
  const header = parsedJson(line.toString("utf8")) as { "cairn-export"?: ExportHeader } | undefined;
  if (header?.["cairn-export"]?.format === 1) return true;
  throw damaged("The first line of the export is damaged, or was written by a later version.");
}

/** `text` has one byte for each character. */
function startsWith(bytes: Buffer, text: string): boolean {
  return bytes.toString("latin1", 0, text.length) === text;
}

function compareSummary(line: string, lines: number, hash: Hash): void {
  const last = line.startsWith(LAST) ? parsedJson(line) : undefined;
  const { documents, digest } =
    (last as { "cairn-export-end"?: Partial<ExportSummary> } | undefined)?.["cairn-export-end"] ?? {};
  if (typeof digest !== "string")
    throw damaged(`The export is truncated: its last line is missing after ${lines} documents.`);
  const onPurpose = `${REPEAT} If its lines were changed on purpose, remove the first and the last one.`;
  if (lines !== documents) {
    throw damaged(`The export has ${lines} documents, but its last line counts ${documents}.`, onPurpose);
  }
  const actual = digestOf(hash);
  if (actual === digest) return;
  throw damaged(`The export was changed: its documents have the digest ${actual}, not ${digest}.`, onPurpose);
}

function damaged(message: string, hint = REPEAT): CairnError {
  return new CairnError("EXPORT_DAMAGED", message, hint);
}

function digestOf(hash: Hash): string {
  return `sha256:${hash.copy().digest("hex")}`;
}

export interface NdjsonInput {
  /** Its lines, without blank ones, and without the first and the last one of an export. */
  readonly lines: Lines;
  readonly bytes: number | undefined;
  bytesRead(): number;
  close(): void;
}

/** Throws `EXPORT_DAMAGED` for an incomplete export: of a file before any use, of standard input at its end. */
export async function openNdjson(path: string, terminal: Terminal): Promise<NdjsonInput> {
  const { stream, bytes } = await openInput(path, terminal);
  let read = 0;
  const counted = async function* (): AsyncGenerator<Buffer> {
    for await (const piece of stream) {
      read += piece.length;
      yield piece;
    }
  };
  const lines = perhapsStored(checkedExport(readLines(counted())));
  const input = { lines, bytes, bytesRead: () => read, close: () => void stream.destroy() };
  // A pipe, even one with a name, can be read only once.
  if (bytes === undefined) return input;
  try {
    await checkFile(path, terminal);
    return input;
  } catch (error) {
    input.close();
    throw error;
  }
}

/** Yields the lines. An error after the first ones says that these may be stored already. */
async function* perhapsStored(lines: Lines): Lines {
  try {
    yield* lines;
  } catch (error) {
    if (!isCairnError(error, "EXPORT_DAMAGED")) throw error;
    const hint = `${error.hint} Documents that came before may be stored already, and are then put again.`;
    throw new CairnError(error.code, error.message, { hint, cause: error });
  }
}

async function checkFile(path: string, terminal: Terminal): Promise<void> {
  const { stream } = await openInput(path, terminal);
  try {
    let isExport = false;
    for await (const page of checkedExport(readLines(stream))) {
      if (!isExport && page.length > 0) return;
      isExport = true;
    }
  } finally {
    stream.destroy();
  }
}
