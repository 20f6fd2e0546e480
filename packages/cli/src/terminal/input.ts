import { isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { systemErrorCode } from "@cairn/kv";
import { foreignText } from "@cairn/text";
import { UsageError } from "./report-error.ts";
import type { Terminal } from "./terminal.ts";

/** Opens the file at `path`; `-` is standard input. `bytes` is its size; undefined for pipes. */
export async function openInput(
  path: string,
  terminal: Terminal,
): Promise<{ readonly stream: Readable; readonly bytes: number | undefined }> {
  if (path === "-") return { stream: terminal.stdin, bytes: undefined };
  const file = resolve(terminal.cwd, path);
  try {
    const stats = await stat(file);
    if (stats.isDirectory()) throw new UsageError(`${path} is a directory, not a file.`);
    const stream = createReadStream(file, { highWaterMark: 262_144 });
    return { stream, bytes: stats.isFile() ? stats.size : undefined };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Reads an argument that is JSON itself, `-` for standard input, or `@file`. */
export async function readJsonArgument(argument: string, terminal: Terminal): Promise<string> {
  if (argument !== "-" && !argument.startsWith("@")) return checkJson(argument, "The document", QUOTES);
  return readJsonInput(argument === "-" ? "-" : argument.slice(1), terminal);
}

export async function readJsonInput(path: string, terminal: Terminal): Promise<string> {
  const { stream } = await openInput(path, terminal);
  const name = path === "-" ? "Standard input" : path;
  try {
    return checkJson(textOf(await buffer(stream), name), name);
  } catch (error) {
    throw unreadable(path, error);
  }
}

/** Refuses bytes that are not UTF-8: decoding would replace them, and the node could not tell. Drops a byte order mark. */
function textOf(bytes: Uint8Array, what: string): string {
  if (isUtf8(bytes)) return new TextDecoder().decode(bytes);
  const foreign = foreignText(bytes);
  const reason = foreign === undefined ? "" : `: ${foreign.what}`;
  throw new UsageError(`${what} is not text in UTF-8${reason}.`, foreign?.hint ?? "Save it as UTF-8.");
}

/** Returns `json` unchanged: serializing the parsed value would round numbers, which the node could then not refuse. */
function checkJson(json: string, what: string, hint?: string): string {
  try {
    JSON.parse(json);
    return json;
  } catch (error) {
    throw new UsageError(`${what} is not valid JSON: ${(error as Error).message}.`, hint);
  }
}

const QUOTES =
  "Put a string in double quotes within the shell's quotes: '\"text\"'. To name a file, write @file.json.";

function unreadable(path: string, error: unknown): unknown {
  const code = systemErrorCode(error);
  if (code === "ENOENT") return new UsageError(`There is no file ${path}.`);
  if (code === "EACCES") return new UsageError(`This user is not allowed to read ${path}.`);
  return error;
}
