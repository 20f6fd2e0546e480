import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CairnError, systemErrorCode, systemErrorOf } from "@cairn/kv";
import { z } from "zod";
import { CHECKPOINT_PREFIX } from "../../store/checkpoint-name.ts";
import { parseStoredRecord } from "../../store/stored-record.ts";

const MemorySchema = z.object({ folder: z.string(), fileSystems: z.int().min(1) });

/**
 * Remembers from one run of a process to the next on how many file systems the way to a store's folder lay while the store had
 * checkpoints. The mount point of a volume that is not mounted is an empty folder, which looks like a store that nobody has used yet:
 * a checkpoint saved into it would vanish at the next mount, and the log may have been trimmed for it.
 */
export class FolderMemory {
  readonly #folder: string;
  readonly #file: string;
  #remembered: number | undefined;
  #wasRead = false;

  /** `memoryDir` lies in a folder of the process's own; nothing is remembered while that does not exist. */
  constructor(folder: string, memoryDir: string) {
    this.#folder = folder;
    const name = createHash("sha256").update(folder).digest("hex").slice(0, 16);
    this.#file = join(memoryDir, `${name}.json`);
  }

  /** `STORE_UNREACHABLE` when the folder has no checkpoint and the volume that it had them on is not there. */
  async check(location: string): Promise<void> {
    const before = await this.#read();
    if (before === undefined || before <= (await countFileSystems(this.#folder))) return;
    if (await hasCheckpoints(this.#folder)) return;
    throw new CairnError(
      "STORE_UNREACHABLE",
      `The checkpoint store ${location} is empty, and the volume on which it had checkpoints is not mounted there.`,
      {
        hint: `Mount it; a node goes on by itself. If the store is to begin anew in this folder, remove ${this.#file}.`,
      },
    );
  }

  /** Told that the store has checkpoints now. */
  async note(): Promise<void> {
    const fileSystems = await countFileSystems(this.#folder);
    if ((await this.#read()) === fileSystems) return;
    const temporary = `${this.#file}.${randomBytes(4).toString("hex")}`;
    try {
      await mkdir(dirname(this.#file));
    } catch (error) {
      // Where the process keeps nothing yet (ENOENT), or may not write, there is nothing to be remembered for.
      if (systemErrorCode(error) === undefined) throw error;
    }
    try {
      await writeFile(temporary, `${JSON.stringify({ folder: this.#folder, fileSystems })}\n`);
      await rename(temporary, this.#file);
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
    }
    this.#remembered = fileSystems;
  }

  async #read(): Promise<number | undefined> {
    if (this.#wasRead) return this.#remembered;
    try {
      this.#remembered = parseStoredRecord(MemorySchema, await readFile(this.#file, "utf8"))?.fileSystems;
    } catch (error) {
      const meaning = systemErrorOf(error)?.meaning;
      // Taken for nothing to remember, a store whose volume is not mounted would be empty.
      if (meaning === "wait" || meaning === "failing" || systemErrorCode(error) === undefined) throw error;
    }
    this.#wasRead = true;
    return this.#remembered;
  }
}

/** How many file systems one enters on the way from the root to `folder`, as far as that exists. Device numbers change when a machine starts anew; this does not. */
async function countFileSystems(folder: string): Promise<number> {
  const way: string[] = [];
  for (let at = folder; ; at = dirname(at)) {
    way.unshift(at);
    if (at === dirname(at)) break;
  }
  let count = 0;
  let device: number | undefined;
  for (const at of way) {
    try {
      const { dev } = await stat(at);
      if (dev !== device) count += 1;
      device = dev;
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") break;
      throw error;
    }
  }
  return count;
}

async function hasCheckpoints(folder: string): Promise<boolean> {
  try {
    return (await readdir(folder)).some((name) => name.startsWith(CHECKPOINT_PREFIX));
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return false;
    throw error;
  }
}
