import { createHash, type Hash } from "node:crypto";
import { CairnError } from "@cairn/kv";
import { foreignText, parsedJson } from "@cairn/text";
import { openInput } from "../terminal/input.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { countFeeds } from "./ndjson-chunks.ts";

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
  /** The SHA-256 of the lines between the first and the last one, including their line feeds, but no carriage returns. */
  readonly digest: string;
}

const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
/** What some editors write before text in UTF-8. */
const BYTE_ORDER_MARK = "\u00EF\u00BB\u00BF";
const FIRST = '{"cairn-export":';
/** The number of bytes of blank lines after which the input is no export (there are more than editors leave). */
const MAX_BLANK_BYTES = 1_024;
const LAST = '{"cairn-export-end":';

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
 * Returns the transactions of NDJSON. Throws `EXPORT_DAMAGED` at the end of an export whose last line does not match
 * its first. These two are removed, but lines keep their numbers. Other input is returned unchanged.
 */
export async function* checkedExport(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  const hash = createHash("sha256");
  let state: "unknown" | "export" | "other" = "unknown";
  let lines = 0;
  /** The bytes that may be the first line, and then those that may be the last one. */
  let held: Buffer = Buffer.alloc(0);
  for await (const piece of source) {
    if (state === "other") {
      yield piece;
      continue;
    }
    held = held.length === 0 ? piece : Buffer.concat([held, piece]);
    if (state === "unknown") {
      const foreign = foreignText(held);
      if (foreign !== undefined)
        throw new CairnError("TX_INVALID", `The input is not text in UTF-8: ${foreign.what}.`, foreign.hint);
      state = kindOf(held);
      if (state === "other") {
        yield held;
        held = Buffer.alloc(0);
      }
      if (state !== "export") continue;
      const start = firstLineAt(held);
      const feed = held.indexOf(LINE_FEED, start);
      const first = parsedJson(held.toString("utf8", start, feed)) as
        | { "cairn-export"?: ExportHeader }
        | undefined;
      if (first?.["cairn-export"]?.format !== 1)
        throw damaged("The first line of the export is damaged, or was written by a later version.");
      // A blank line in place of the first line keeps the numbers of the others.
      yield Buffer.from("\n".repeat(countFeeds(held.subarray(0, feed + 1))));
      held = held.subarray(feed + 1);
    }
    const start = held.lastIndexOf(LINE_FEED, -2) + 1;
    if (start === 0) continue;
    const whole = held.subarray(0, start);
    held = held.subarray(start);
    const text = whole.includes(CARRIAGE_RETURN)
      ? whole.toString("latin1").replaceAll("\r\n", "\n")
      : undefined;
    hash.update(text === undefined ? whole : Buffer.from(text, "latin1"));
    lines += countFeeds(whole);
    yield whole;
  }
  // An export may end within its first line, too.
  if (state === "export" || isFirstLine(held)) compareSummary(held.toString("utf8"), lines, hash);
  else if (held.length > 0) yield held;
}

/** Returns whether the input is an export; unknown if its first line is not complete. */
function kindOf(beginning: Buffer): "unknown" | "export" | "other" {
  const start = firstLineAt(beginning);
  if (isFirstLine(beginning)) return beginning.includes(LINE_FEED, start) ? "export" : "unknown";
  const text = beginning.toString("latin1", start, start + FIRST.length);
  const mayBegin = FIRST.startsWith(text) || (start === 0 && BYTE_ORDER_MARK.startsWith(text));
  return mayBegin && start <= MAX_BLANK_BYTES ? "unknown" : "other";
}

function isFirstLine(beginning: Buffer): boolean {
  return beginning.subarray(firstLineAt(beginning)).toString("latin1", 0, FIRST.length) === FIRST;
}

/** Returns the number of bytes before the first line: a mark and blank lines. */
function firstLineAt(beginning: Buffer): number {
  const { length } = BYTE_ORDER_MARK;
  let at = beginning.toString("latin1", 0, length) === BYTE_ORDER_MARK ? length : 0;
  while (beginning[at] === LINE_FEED || beginning[at] === CARRIAGE_RETURN) at += 1;
  return at;
}

function compareSummary(line: string, lines: number, hash: Hash): void {
  const last = line.startsWith(LAST) ? parsedJson(line) : undefined;
  const { documents, digest } =
    (last as { "cairn-export-end"?: Partial<ExportSummary> } | undefined)?.["cairn-export-end"] ?? {};
  if (typeof digest !== "string")
    throw damaged(`The export is truncated: its last line is missing after ${lines} documents.`);
  if (lines !== documents) {
    throw damaged(`The export has ${lines} documents, but its last line counts ${documents}.`);
  }
  const actual = digestOf(hash);
  if (actual === digest) return;
  throw damaged(`The export was changed: its documents have the digest ${actual}, not ${digest}.`);
}

function damaged(message: string): CairnError {
  return new CairnError("EXPORT_DAMAGED", message, "Repeat the export, and use its whole output.");
}

function digestOf(hash: Hash): string {
  return `sha256:${hash.copy().digest("hex")}`;
}

export interface NdjsonInput {
  /** The content, without the first and the last line of an export. */
  readonly lines: AsyncIterable<Buffer>;
  /** The size of the file; undefined if unknown. */
  readonly bytes: number | undefined;
  close(): void;
}

/** Throws `EXPORT_DAMAGED` for an incomplete export: of a file before any use, of standard input at its end. */
export async function openNdjson(path: string, terminal: Terminal): Promise<NdjsonInput> {
  const { stream, bytes } = await openInput(path, terminal);
  const input = { lines: checkedExport(stream), bytes, close: () => void stream.destroy() };
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

async function checkFile(path: string, terminal: Terminal): Promise<void> {
  const { stream } = await openInput(path, terminal);
  try {
    let isFirst = true;
    for await (const piece of checkedExport(stream)) {
      // The content of an export begins with the blank line in place of its first line.
      if (isFirst && piece.toString("latin1") !== "\n") return;
      isFirst = false;
    }
  } finally {
    stream.destroy();
  }
}
