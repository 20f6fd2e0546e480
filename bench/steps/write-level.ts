import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type CheckpointSource, filesystemStore, takeCheckpoint } from "@cairn/checkpoint";
import { type KvStore, levelProvider } from "@cairn/kv";
import { flush, run } from "../harness/command.ts";
import { peakMemory } from "../harness/peak-memory.ts";
import type { Figures } from "../harness/figures.ts";
import { measureSteadyWriter } from "./steady-writer.ts";

/** A LevelDB directory that the step may change, and its kind of backup: a checkpoint, or hard links and `tar`. */
export interface WriteLevelInput {
  readonly dir: string;
  readonly backupDir: string;
  readonly records: number;
  readonly backup: "checkpoint" | "tar";
}

/** Measures a steady writer on an index's LevelDB, before and during backups. */
export async function writeLevel(input: WriteLevelInput): Promise<Figures> {
  const store = await levelProvider().open(input.dir);
  const backup = input.backup === "checkpoint" ? checkpointTo(input, store) : tarTo(input, store);
  const folderOf = (round: number): string => join(input.backupDir, String(round));
  await mkdir(input.backupDir, { recursive: true });
  try {
    const figures = await measureSteadyWriter({
      records: input.records,
      write: (rows) =>
        store.batch(rows.map(({ key, value }) => ({ type: "put", key: Buffer.from(key), value }))),
      disturb: (round) => backup(folderOf(round)),
      tidy: (round) => rm(folderOf(round), { recursive: true }),
    });
    return { ...figures, "peak MB": peakMemory() };
  } finally {
    await store.close();
  }
}

function checkpointTo({ backupDir }: WriteLevelInput, kv: KvStore): (folder: string) => Promise<void> {
  return async (folder) => {
    const store = filesystemStore({ path: folder });
    const { outcome } = await takeCheckpoint({
      source: sourceOf(kv),
      options: {
        store,
        approxFrequency: 3_600_000,
        checkpointDir: join(backupDir, "capture"),
        compression: "none",
      },
    });
    await store.close();
    if (outcome !== "taken") throw new Error("no checkpoint was taken");
  };
}

/** Returns a source that opens and reads each capture, as a node does, but describes it with constants. */
function sourceOf(kv: KvStore): CheckpointSource {
  const log = { id: "bench", name: "bench", offset: 0 };
  return {
    node: "bench",
    version: "bench",
    position: () => Promise.resolve({ logId: log.id, txId: 1 }),
    capture: async (dir) => {
      await kv.capture(dir, { unchecked: true });
      const copy = await levelProvider().open(dir);
      await copy.get(Buffer.from("a row"));
      await copy.close();
      return {
        format: { index: 1, kv: levelProvider().format },
        log,
        txId: 1,
        txTime: new Date(0).toISOString(),
        anchor: { txId: 1, sha256: "0".repeat(64) },
        chains: [],
        purged: 1,
        documents: 1,
      };
    },
  };
}

function tarTo({ backupDir }: WriteLevelInput, kv: KvStore): (folder: string) => Promise<void> {
  return async (folder) => {
    const links = join(backupDir, "links");
    const archive = join(folder, "index.tar");
    await mkdir(folder);
    await kv.capture(links);
    await run("tar", ["-cf", archive, "-C", links, "."]);
    await flush(archive);
    await rm(links, { recursive: true });
  };
}
