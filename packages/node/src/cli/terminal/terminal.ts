import type { Readable, Writable } from "node:stream";
import { CairnError, systemErrorCode } from "@cairn/kv";

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

/** Who read the output has seen enough, as in `cairn list | head`: the command ends early, and has not failed. */
export class ReaderGoneError extends Error {}

/**
 * Writes, and waits until that is done: output may be larger than memory. Where it cannot be written the command is told, so that it
 * removes what it made before it ends: {@link ReaderGoneError}, `DISK_FULL`.
 */
export async function write(output: Output, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    output.write(text, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(unwritable(error));
    });
  });
}

function unwritable(error: Error): Error {
  const code = systemErrorCode(error);
  if (code === "EPIPE") return new ReaderGoneError("nobody reads the output any more", { cause: error });
  if (code !== "ENOSPC" && code !== "EDQUOT") return error;
  return new CairnError("DISK_FULL", `The output could not be written: its disk is full (${code}).`, {
    hint: "What was written before is not whole. Free some space, or write to another disk.",
    cause: error,
  });
}

/** Writes a line. */
export function writeLine(output: Output, line: string): Promise<void> {
  return write(output, `${line}\n`);
}

/** A line on standard error. Where nobody can be told the command goes on: its work, and how it ends, do not depend on that. */
export async function tell(terminal: Pick<Terminal, "stderr">, line: string): Promise<void> {
  await new Promise<void>((resolve) => terminal.stderr.write(`${line}\n`, () => resolve()));
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
