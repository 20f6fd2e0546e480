import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { run } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { COMMAND } from "../harness/node-process.ts";

const DOCUMENT = { v: "x".repeat(300) };

/** Loads `count` transactions with `cairn load`, until the node has indexed the last one. */
export async function loadLines({
  path,
  port,
  count,
}: {
  readonly path: string;
  readonly port: number;
  readonly count: number;
}): Promise<Figures> {
  await pipeline(lines(count), createWriteStream(path));
  const begin = performance.now();
  await run(process.execPath, [COMMAND, "load", path, "--await", "--url", `http://127.0.0.1:${port}`]);
  return { "tx/s": count / ((performance.now() - begin) / 1_000) };
}

function* lines(count: number): Generator<string, void, void> {
  // Rounds share a server, so the keys must differ from those of earlier rounds.
  const begun = Date.now();
  for (let index = 0; index < count; index += 1)
    yield `${JSON.stringify({ ops: [["put", "loads", `k${begun}-${index}`, DOCUMENT]] })}\n`;
}
