import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CairnError, namesIn, systemErrorCode, systemErrorOf, systemRefused, unlessFailed } from "@cairn/kv";
import { z } from "zod";
import { CHECKPOINT_PREFIX } from "../../store/checkpoint.ts";
import { parseStoredRecord } from "../../store/stored-record.ts";

const MemorySchema = z.object({ folder: z.string(), fileSystems: z.int().min(1) });

/**
 * Remembers, across restarts of a process, how many file systems the path to a store's folder crossed while the store
 * contained checkpoints. The mount point of an unmounted volume is an empty folder, which looks like a new store: a
 * checkpoint saved there would vanish at the next mount, even though the log may have been trimmed because of it.
 * Nothing is remembered while the parent of `memoryDir`, a folder of this process, does not exist.
 */
export function folderMemory(folder: string, memoryDir: string) {
  const name = createHash("sha256").update(folder).digest("hex").slice(0, 16);
  const file = join(memoryDir, `${name}.json`);
  let remembered: number | undefined;
  let wasRead = false;

  async function read(): Promise<number | undefined> {
    if (wasRead) return remembered;
    try {
      remembered = parseStoredRecord(MemorySchema, await readFile(file, "utf8"))?.fileSystems;
    } catch (error) {
      const system = systemErrorOf(error);
      // If this error were ignored, a store on an unmounted volume would count as empty.
      if (system?.meaning === "wait" || system?.meaning === "failing")
        throw systemRefused(`The file ${file}`, system, error);
      if (systemErrorCode(error) === undefined) throw error;
    }
    wasRead = true;
    return remembered;
  }

  return {
    /**
     * Throws `STORE_UNREACHABLE` if the folder had checkpoints and does not exist any more, or has none and the volume
     * that contained them is not mounted.
     */
    async check(location: string): Promise<void> {
      const before = await read();
      if (before === undefined) return;
      const isGone = (await unlessFailed(stat(folder), "ENOENT", undefined)) === undefined;
      const isMounted = before <= (await countFileSystems(folder));
      if (isMounted && isGone) throw noFolder(location);
      if (isMounted || (await namesIn(folder)).some((one) => one.startsWith(CHECKPOINT_PREFIX))) return;
      throw new CairnError(
        "STORE_UNREACHABLE",
        `The checkpoint store ${location} is empty, and the volume on which it had checkpoints is not mounted there.`,
        `Mount it; a running node then continues by itself. To start a new store in this folder, remove ${file}.`,
      );
    },
    /** Records that the store now contains checkpoints. */
    async note(): Promise<void> {
      const fileSystems = await countFileSystems(folder);
      if ((await read()) === fileSystems) return;
      const temporary = `${file}.${randomBytes(4).toString("hex")}`;
      const write = async (): Promise<void> => {
        await writeFile(temporary, `${JSON.stringify({ folder, fileSystems })}\n`);
        await rename(temporary, file);
      };
      // If the process has no folder yet (ENOENT), or may not write to it, nothing is remembered.
      for (const step of [() => mkdir(dirname(file)), write]) {
        try {
          await step();
        } catch (error) {
          if (systemErrorCode(error) === undefined) throw error;
        }
      }
      remembered = fileSystems;
    },
  };
}

export function noFolder(location: string): CairnError {
  return new CairnError(
    "STORE_UNREACHABLE",
    `The folder of the checkpoint store ${location} no longer exists.`,
    "Mount the volume again, or create the folder again if it was removed on purpose; a running node then continues by itself.",
  );
}

/** Counts the file systems on the path to `folder`. Unlike device numbers, the count survives a reboot. */
async function countFileSystems(folder: string): Promise<number> {
  const way: string[] = [];
  for (let at = folder; ; at = dirname(at)) {
    way.unshift(at);
    if (at === dirname(at)) break;
  }
  let count = 0;
  let device: number | undefined;
  for (const at of way) {
    const found = await unlessFailed(stat(at), "ENOENT", undefined);
    if (found === undefined) break;
    if (found.dev !== device) count += 1;
    device = found.dev;
  }
  return count;
}
