import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import type { KvOperation, KvRow } from "@cairn/kv";

/** The first line of a file of rows, which is also the format that checkpoints name. */
export const FORMAT = "cairn-example-rows/1";
const ROWS_PER_LINE = 500;
const LINE_END = 0x0a;

/** Encodes a batch as a line with a checksum, because part of a line can look like a complete one. */
export function encodeLine(operations: readonly KvOperation[]): string {
  const changes = operations.map((operation) =>
    operation.type === "put" ? [base64(operation.key), base64(operation.value)] : [base64(operation.key)],
  );
  const json = JSON.stringify(changes);
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`;
}

/** Decodes the batch in a line without its newline. Returns undefined if the checksum is wrong. */
export function decodeLine(line: string): KvOperation[] | undefined {
  const json = line.slice(9);
  if (line.slice(0, 9) !== `${crc32(json).toString(16).padStart(8, "0")} `) return undefined;
  // The checksum shows that encodeLine wrote the line.
  const changes = JSON.parse(json) as (readonly [key: string, value?: string])[];
  return changes.map(([key, value]) =>
    value === undefined
      ? { type: "del", key: bytes(key) }
      : { type: "put", key: bytes(key), value: bytes(value) },
  );
}

/** Yields the lines of a file without their newlines. Anything after the last newline is ignored. */
export async function* linesOf(path: string): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(LINE_END); end !== -1; end = chunk.indexOf(LINE_END, from)) {
      yield Buffer.concat([...parts, chunk.subarray(from, end)]).toString("utf8");
      parts = [];
      from = end + 1;
    }
    if (from < chunk.length) parts.push(chunk.subarray(from));
  }
}

/** Writes and flushes a file of rows, and returns its size. */
export async function writeRows(path: string, rows: readonly KvRow[]): Promise<number> {
  const file = await open(path, "w");
  try {
    await file.appendFile(`${FORMAT}\n`);
    for (let from = 0; from < rows.length; from += ROWS_PER_LINE) {
      const line = rows
        .slice(from, from + ROWS_PER_LINE)
        .map(([key, value]) => ({ type: "put", key, value }) as const);
      await file.appendFile(encodeLine(line));
    }
    await file.sync();
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}

function base64(value: Uint8Array): string {
  return Buffer.from(value).toString("base64");
}

function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}
