#!/usr/bin/env node
import { once } from "node:events";
import { type Command, HELP, readCommandLine } from "./command-line.ts";
import { HistoryError } from "./history-error.ts";
import { historyLines } from "./history.ts";
import { makeRepository } from "./make-repository.ts";
import { expectedFiles, expectedHistory } from "./oracle.ts";
import { pathOfName } from "./path-name.ts";

// Lines are short, so writing each of them separately would cost more than generating them.
const BLOCK_CHARACTERS = 64 * 1024;

function linesOf(command: Command): AsyncIterable<string> | Iterable<string> {
  const { action, repo, ref } = command;
  if (action === "help") return [HELP.trimEnd()];
  if (action === "make") return made(command);
  if (action === "expect") return asJson(expectedFiles(repo, ref));
  if (action === "history") return asJson(expectedHistory(repo, pathOfName(command.path ?? ""), ref));
  return historyLines({ ...command, directory: repo });
}

async function* made({ repo, commits, seed }: Command): AsyncGenerator<string, void, undefined> {
  yield JSON.stringify(await makeRepository({ directory: repo, commits, seed }));
}

async function* asJson(values: AsyncIterable<unknown>): AsyncGenerator<string, void, undefined> {
  for await (const value of values) yield JSON.stringify(value);
}

async function print(lines: AsyncIterable<string> | Iterable<string>): Promise<void> {
  let block = "";
  for await (const line of lines) {
    block += `${line}\n`;
    if (block.length < BLOCK_CHARACTERS) continue;
    if (!process.stdout.write(block)) await once(process.stdout, "drain");
    block = "";
  }
  if (block !== "") process.stdout.write(block);
}

// A reader that needs no more output (`| head`) closes the pipe, which is not an error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  process.stderr.write(`Standard output cannot be written: ${error.message}.\n`);
  process.exit(3);
});

try {
  await print(linesOf(readCommandLine(process.argv.slice(2))));
} catch (error) {
  if (!(error instanceof HistoryError)) throw error;
  process.stderr.write(`${error.message}\n${error.hint === undefined ? "" : `${error.hint}\n`}`);
  process.exitCode = 2;
}
