import type { Readable, Writable } from "node:stream";
import { CairnError, systemErrorCode, systemErrorOf } from "@cairn/kv";

export type Output = Writable & {
  readonly isTTY?: boolean;
  readonly columns?: number;
};

/** A command's view of its process, which tests replace. */
export interface Terminal {
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Calls `listener` for these signals instead of ending the process. Returns a function that undoes this. */
  onSignal(signals: readonly NodeJS.Signals[], listener: (signal: NodeJS.Signals) => void): () => void;
  /** Ends the process immediately, even if work is still running. */
  forceExit(code: number): void;
}

/** The reader closed the output, as in `cairn list | head`: the command ends early, but has not failed. */
export class ReaderGoneError extends Error {}

/**
 * Writes `text`, and waits until the output accepted it, because it may be larger than memory. Throws {@link
 * ReaderGoneError} or `DISK_FULL`, so that a command can clean up before it ends.
 */
export async function write(output: Output, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    // JSON may contain these characters as they are.
    output.write(output.isTTY === true ? text.replaceAll(HIDDEN, escapeOf) : text, (error) => {
      if (error === null || error === undefined) resolve();
      else reject(unwritable(error));
    });
  });
}

function unwritable(error: Error): Error {
  const code = systemErrorCode(error);
  if (code === "EPIPE") return new ReaderGoneError("the reader has closed the output", { cause: error });
  const system = systemErrorOf(error);
  if (system?.meaning !== "full") return error;
  const cure = system.hint ?? "Free some space, or write to another disk.";
  return new CairnError("DISK_FULL", `The output could not be written: ${system.what} (${system.errno}).`, {
    hint: `${cure} The output written so far is incomplete.`,
    cause: error,
  });
}

/** Failures are ignored: neither the work of a command nor its exit code depends on its messages. */
export async function tell(terminal: Pick<Terminal, "stderr">, line: string): Promise<void> {
  await new Promise<void>((resolve) => terminal.stderr.write(`${line}\n`, () => resolve()));
}

export function writeJson(output: Output, value: unknown): Promise<void> {
  return writeJsonLines(output, [value]);
}

export async function writeJsonLines(output: Output, values: readonly unknown[]): Promise<void> {
  const text = values.map((value) => `${JSON.stringify(value)}\n`).join("");
  if (text !== "") await write(output, text);
}

/** Control characters in text from outside, which could move the cursor, become escapes. */
export function printable(text: string): string {
  return text.replaceAll(CONTROL, escapeOf);
}

function escapeOf(character: string): string {
  const escaped = JSON.stringify(character).slice(1, -1);
  return escaped === character
    ? `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`
    : escaped;
}

/** Characters that change a terminal, or the order in which it shows text, and that `JSON.stringify` does not escape. */
const HIDDEN = /[\u007f-\u009f]|\p{Bidi_Control}/gu;
const CONTROL = /\p{Cc}|\p{Bidi_Control}|[\u2028\u2029]/gu;
