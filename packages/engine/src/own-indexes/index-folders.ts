import { randomUUID } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { makeFolder, namesIn, removeFolder, syncFile, syncFolder, unlessFailed } from "@cairn/kv";
import { parsedJson } from "@cairn/text";
import { z } from "zod";

/*
 * <db-dir>/own/<name>/ has a folder for each build of an index, of which at most one is complete: the one that
 * `served.json` names. It is written last, and all other folders are what a killed process or an older version left.
 */

const ServedSchema = z.object({
  folder: z.string(),
  version: z.number(),
  options: z.record(z.string(), z.unknown()),
  /** The buckets whose documents it has; all if undefined. */
  buckets: z.array(z.string()).optional(),
  /** Since `at` (ms since 1970), files have contained nothing that was evicted by transactions up to `txId`. */
  purged: z.object({ txId: z.number(), at: z.number() }),
});
type Served = z.infer<typeof ServedSchema>;

export type OwnPurge = Readonly<Served["purged"]>;

/** A complete build, with the version and options of its configuration. */
export interface CompleteBuild extends Readonly<Omit<Served, "folder" | "buckets">> {
  readonly dir: string;
  readonly buckets: readonly string[] | undefined;
}

const SERVED = "served.json";

export class IndexFolders {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  async complete(): Promise<CompleteBuild | undefined> {
    const text = await unlessFailed(readFile(this.#at(SERVED), "utf8"), "ENOENT", undefined);
    const served = text === undefined ? undefined : ServedSchema.safeParse(parsedJson(text)).data;
    if (served === undefined || !(await namesIn(this.#dir)).includes(served.folder)) return undefined;
    const { folder, version, options, buckets, purged } = served;
    return { dir: this.#at(folder), version, options, buckets, purged };
  }

  /** Returns a new empty folder for a build. */
  async begin(version: number): Promise<string> {
    // A process that answers queries may still have files of any earlier folder open.
    const dir = this.#at(`${version}-${randomUUID().slice(0, 8)}`);
    await makeFolder(dir);
    return dir;
  }

  /** The folder for a copy of the node's index. */
  get copy(): string {
    return this.#at("copy");
  }

  /**
   * Makes a build the complete one. Its module has made the files durable: to open and close files of SQLite beside it,
   * even to flush them, would release its locks on them, which belong to the process.
   */
  async publish(build: CompleteBuild): Promise<void> {
    await syncFolder(build.dir);
    await this.note(build);
  }

  /** Records what is known of the complete build. */
  async note({ dir, ...build }: CompleteBuild): Promise<void> {
    const written = this.#at(`${SERVED}.new`);
    await writeFile(written, JSON.stringify({ folder: path.basename(dir), ...build }));
    await syncFile(written);
    await rename(written, this.#at(SERVED));
    await syncFolder(this.#dir);
  }

  /** Removes everything but the build in `dir`. */
  async removeOthers(dir: string | undefined): Promise<void> {
    const kept = dir === undefined ? [] : [path.basename(dir), SERVED];
    const names = (await namesIn(this.#dir)).filter((name) => !kept.includes(name));
    // Without its folder, served.json names nothing.
    for (const name of names) await removeFolder(this.#at(name));
  }

  #at(name: string): string {
    return path.join(this.#dir, name);
  }
}
