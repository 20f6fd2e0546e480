import { openInput } from "../terminal/input.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { checkedExport } from "./export-lines.ts";

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
