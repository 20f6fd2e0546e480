import { randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, rename, rm, stat, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { syncFolder, unlessMissing } from "./file-system.ts";

/** A file that is being written and has no name yet. */
export interface Draft {
  readonly folder: string;
  readonly life: string;
  append(chunk: Uint8Array): Promise<void>;
  /** Flushes and closes it. */
  finish(): Promise<void>;
  discard(): Promise<void>;
}

/** So many former generations stay, so that a writer that was slow cannot take the place of one that is gone. */
const KEPT = 100;
/** A draft that nobody has written to for so long is a dead process's. */
const DEAD_MS = 24 * 3_600_000;

/**
 * Named files, each a folder: `files/<name>/<life>/<generation>`. A life is random and lasts from the creation of the file to
 * its removal; the highest generation is the content. So each change is one call that the file system lets only one win:
 *
 * - creating renames a folder that holds the whole life to the name, which fails where there is one;
 * - replacing links the next generation, which fails where another was faster, or the life is over;
 * - removing renames the folder away, with whatever is in it.
 */
export class LivesFolder {
  readonly #path: string;
  readonly #files: string;
  readonly #drafts: string;
  #seen = false;
  #prepared = false;

  constructor(path: string) {
    this.#path = path;
    this.#files = join(path, "files");
    this.#drafts = join(path, "drafts");
  }

  /** The names of all files; a folder that was there and is gone is an error, not an empty store. */
  async names(): Promise<string[]> {
    const entries = await unlessMissing(() => readdir(this.#files));
    if (entries === undefined && this.#seen) {
      throw new CairnError("STORE_UNREACHABLE", `The folder ${this.#path} has gone.`, {
        hint: "Mount the volume again.",
      });
    }
    this.#seen ||= entries !== undefined;
    return (entries ?? []).map((entry) => entry.replace("~", "/"));
  }

  /** Opens what the file holds now. */
  async openLatest(name: string): Promise<{ handle: FileHandle; tag: string } | undefined> {
    // A second look only where the file was changed since the first.
    for (let look = 0; look < 100; look += 1) {
      const folder = this.#folderOf(name);
      const [life] = (await unlessMissing(() => readdir(folder))) ?? [];
      if (life === undefined) {
        await this.names();
        return undefined;
      }
      const generation = await this.#lastOf(join(folder, life));
      const handle = await unlessMissing(() => open(join(folder, life, String(generation)), "r"));
      if (handle !== undefined) return { handle, tag: `${life}/${generation}` };
    }
    throw new CairnError(
      "STORE_UNREACHABLE",
      `${name} in ${this.#path} changes without end, or is damaged.`,
      {
        hint: "Look whether its folder is empty; then remove that.",
      },
    );
  }

  /** Runs `work` on what the file holds now. */
  async withLatest<T>(
    name: string,
    work: (handle: FileHandle) => Promise<T>,
  ): Promise<{ result: T; tag: string } | undefined> {
    const file = await this.openLatest(name);
    if (file === undefined) return undefined;
    try {
      return { result: await work(file.handle), tag: file.tag };
    } finally {
      await file.handle.close();
    }
  }

  /** A new draft, with `text` in it. */
  async draft(text = ""): Promise<Draft> {
    if (!this.#prepared) await this.#prepare();
    const life = randomUUID();
    const folder = join(this.#drafts, randomUUID());
    // Not recursive: on a volume that went away nothing is to be made.
    await mkdir(folder);
    await mkdir(join(folder, life));
    const handle = await open(join(folder, life, "1"), "wx");
    const discard = async (): Promise<void> => {
      await handle.close();
      await rm(folder, { recursive: true, force: true });
    };
    const finish = async (): Promise<void> => {
      await handle.sync();
      await handle.close();
    };
    await handle.appendFile(text);
    return { folder, life, append: (chunk) => handle.appendFile(chunk), finish, discard };
  }

  /** Gives a draft the name; false where the name is taken. */
  async begin(name: string, draft: Draft): Promise<boolean> {
    try {
      await draft.finish();
      await syncFolder(join(draft.folder, draft.life));
      await syncFolder(draft.folder);
      await rename(draft.folder, this.#folderOf(name));
    } catch (error) {
      await draft.discard();
      if (systemErrorCode(error) === "ENOTEMPTY" || systemErrorCode(error) === "EEXIST") return false;
      throw error;
    }
    await syncFolder(this.#files);
    return true;
  }

  /** Puts a draft in the place of what the file holds, if that still has the tag; answers the new tag. */
  async succeed(name: string, tag: string, draft: Draft): Promise<string | undefined> {
    try {
      await draft.finish();
      const current = await this.withLatest(name, async () => undefined);
      if (current?.tag !== tag) return undefined;
      const [life = "", last = ""] = tag.split("/");
      const generation = Number(last) + 1;
      const folder = join(this.#folderOf(name), life);
      await link(join(draft.folder, draft.life, "1"), join(folder, String(generation)));
      await syncFolder(folder);
      await unlessMissing(() => unlink(join(folder, String(generation - KEPT))));
      return `${life}/${generation}`;
    } catch (error) {
      if (systemErrorCode(error) === "EEXIST" || systemErrorCode(error) === "ENOENT") return undefined;
      throw error;
    } finally {
      await draft.discard();
    }
  }

  /** Removes the file; fine when it is not there. */
  async end(name: string): Promise<void> {
    const away = join(this.#drafts, randomUUID());
    const moved = await unlessMissing(() => rename(this.#folderOf(name), away).then(() => true));
    if (moved === undefined) return;
    await syncFolder(this.#files);
    await rm(away, { recursive: true });
  }

  /** The time that the file system gives to a file just made; this machine's before the first write. */
  async now(): Promise<number> {
    if ((await this.names()).length === 0 && !this.#seen) return Date.now();
    const draft = await this.draft();
    try {
      return Math.floor((await stat(draft.folder)).mtimeMs);
    } finally {
      await draft.discard();
    }
  }

  async #lastOf(folder: string): Promise<number> {
    const generations = (await unlessMissing(() => readdir(folder))) ?? [];
    return Math.max(0, ...generations.map(Number));
  }

  #folderOf(name: string): string {
    // No name of a store contains it.
    return join(this.#files, name.replace("/", "~"));
  }

  async #prepare(): Promise<void> {
    await this.names();
    if (!this.#seen) {
      // In this order, so that where there are files there is a folder for drafts.
      await mkdir(this.#drafts, { recursive: true });
      await mkdir(this.#files, { recursive: true });
      this.#seen = true;
    }
    this.#prepared = true;
    const now = await this.now();
    for (const name of await readdir(this.#drafts)) {
      const folder = join(this.#drafts, name);
      const written = await unlessMissing(() => lastWrite(folder));
      if (written !== undefined && now - written > DEAD_MS)
        await rm(folder, { recursive: true, force: true });
    }
  }
}

async function lastWrite(folder: string): Promise<number> {
  const times = [(await stat(folder)).mtimeMs];
  for (const name of await readdir(folder, { recursive: true })) {
    const entry = await unlessMissing(() => stat(join(folder, name)));
    if (entry !== undefined) times.push(entry.mtimeMs);
  }
  return Math.max(...times);
}
