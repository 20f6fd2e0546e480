import { once } from "node:events";
import type { Readable, Writable } from "node:stream";

/** A stream that may be a terminal. */
export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** What a command sees of its process; tests hand in their own. */
export interface Terminal {
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Calls `listener` at each of these signals instead of ending the process; the answer undoes it. */
  onSignal(signals: readonly NodeJS.Signals[], listener: (signal: NodeJS.Signals) => void): () => void;
  /** Ends the process at once, whatever still runs. */
  forceExit(code: number): void;
}

/** Writes, and waits while the reader is slower: output may be larger than memory. */
export async function write(output: Output, text: string): Promise<void> {
  if (!output.write(text)) await once(output, "drain");
}

/** Writes a line. */
export function writeLine(output: Output, line: string): Promise<void> {
  return write(output, `${line}\n`);
}

/** Writes a value as one line of JSON. */
export function writeJson(output: Output, value: unknown): Promise<void> {
  return writeLine(output, JSON.stringify(value));
}

/** Text of others on one line of a terminal: control characters, which could move the cursor, are written as escapes. */
export function printable(text: string): string {
  return text.replaceAll(CONTROL, (character) => {
    const escaped = JSON.stringify(character).slice(1, -1);
    return escaped === character
      ? `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`
      : escaped;
  });
}

/** The same of several lines. */
export function printableLines(text: string): string {
  return text.split("\n").map(printable).join("\n");
}

const CONTROL = /\p{Cc}|[\u2028\u2029]/gu;
