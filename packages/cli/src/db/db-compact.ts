import { randomBytes } from "node:crypto";
import { rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { CairnError, diskError, isCairnError, type KvReader, type KvStore, levelProvider } from "@cairn/kv";
import { digestIndex, findState, indexReader, requireEmpty } from "@cairn/engine";
import { formatBytes, formatNumberOf } from "@cairn/text";
import { command } from "../options/command.ts";
import { OUTPUT } from "../options/option-specs.ts";
import { DB_OPTIONS, DB_NOTE } from "./db-copy.ts";
import { openDb } from "./db-reader.ts";

export const addDbCompact = command({
  syntax: "compact [place]",
  description: "Write a new copy of a LevelDB without its overwritten and deleted values",
  examples: ["cairn db compact ./cairn-data/node-1-index -o ./compacted"],
  options: { ...DB_OPTIONS, output: OUTPUT },
  note: DB_NOTE,
  async act(run, place) {
    const { output } = run.options;
    const target = resolve(run.terminal.cwd, output);
    await requireEmpty(target).catch((error: unknown) => {
      throw diskError(error, target);
    });
    const { kv, reader, copy } = await openDb(run, place);
    const { bytes: before } = await kv.stats();
    const { rows, after, digest } = await compactTo(target, reader, copy.source);
    const proof = digest === null ? "" : `; the content is the same (${digest})`;
    await run.answer(
      { directory: output, rows, before, after, digest },
      `wrote ${formatNumberOf(rows, "row")} to ${output}: ${formatBytes(after)} of files instead of ${formatBytes(before)}${proof}`,
    );
  },
});

/** Writes the copy next to the target, and renames it once it has been shown to have the same content. */
async function compactTo(
  target: string,
  reader: KvReader,
  source: string,
): Promise<{ rows: number; after: number; digest: string | null }> {
  const temporary = join(dirname(target), `.cairn-compact-${randomBytes(4).toString("hex")}`);
  try {
    const written = await levelProvider().open(temporary);
    let rows = 0;
    let digest: string | null;
    try {
      rows = await copyRows(reader, written);
      await written.compact();
      digest = await sameContent(reader, written, source);
    } finally {
      await written.close();
    }
    // LevelDB turns the write-ahead log of the copy into a table when the copy is opened again.
    const settled = await levelProvider().open(temporary);
    const { bytes: after } = await settled.stats();
    await settled.close();
    await rename(temporary, target);
    return { rows, after, digest };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    const known = diskError(error, target);
    if (!isCairnError(known, "DISK_FULL")) throw known;
    throw new CairnError("DISK_FULL", `There is no space left for the copy in ${target}.`, {
      hint: "Free some space, or name a folder on another disk with -o. The incomplete copy was removed.",
      cause: error,
    });
  }
}

async function copyRows(from: KvReader, to: KvStore): Promise<number> {
  let rows = 0;
  for await (const page of from.range({})) {
    await to.batch(page.map(([key, value]) => ({ type: "put", key, value })));
    rows += page.length;
  }
  return rows;
}

async function sameContent(before: KvReader, after: KvReader, source: string): Promise<string | null> {
  if ((await findState(before)) === undefined) return null;
  const [found, wanted] = [await digestIndex(indexReader(after)), await digestIndex(indexReader(before))];
  if (found !== undefined && found.digest === wanted?.digest) return found.digest;
  throw new CairnError(
    "INDEX_CORRUPT",
    `The copy of ${source} differs from ${source}.`,
    "Check the disk on which the copy was written. The copy was removed.",
  );
}
