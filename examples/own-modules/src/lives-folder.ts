import { randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, rename, rm, stat, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { CairnError, systemErrorCode } from "@cairn/kv";
import { syncFolder, unlessMissing } from "./file-system.ts";

/** A file that is being written and does not have its name yet. */
export interface Draft {
  readonly folder: string;
  readonly life: string;
  append(chunk: Uint8Array): Promise<void>;
  /** Flushes and closes the draft. */
  finish(): Promise<void>;
  discard(): Promise<void>;
}

/**
 * The number of former generations that are kept, so that a slow writer cannot recreate a generation that has been
 * removed.
 */
const GENERATIONS_KEPT = 100;
/** The time (ms) without a change after which the process that wrote a draft is presumed dead. */
const DRAFT_EXPIRY_MS = 24 * 3_600_000;

/**
 * Named files, each of which is a folder: `files/<name>/<life>/<generation>`. A life has a random name and lasts from the creation of the
 * file to its removal; the highest generation is the current content. Each change is a single system call, which only one of several
 * processes can win:
 *
 * - creating renames a folder that contains the whole life to the name, which fails if the name exists;
 * - replacing links the next generation, which fails if another process was faster or the life has ended;
 * - removing renames the folder, with its contents, to another place.
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

  /** Returns the names of all files. If the folder has disappeared, throws instead of treating it as empty. */
  async names(): Promise<string[]> {
    const entries = await unlessMissing(() => readdir(this.#files));
    if (entries === undefined && this.#seen) {
      throw new CairnError("STORE_UNREACHABLE", `The folder ${this.#path} no longer exists.`, {
        hint: "Mount the volume again.",
      });
    }
    this.#seen ||= entries !== undefined;
    return (entries ?? []).map((entry) => entry.replace("~", "/"));
  }

  /** Opens the current content of a file. */
  async openLatest(name: string): Promise<{ handle: FileHandle; tag: string } | undefined> {
    // The loop is repeated only if the file was changed in the meantime.
    for (let attempt = 0; attempt < 100; attempt += 1) {
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
      `${name} in ${this.#path} changes all the time, or is damaged.`,
      {
        hint: "Check whether its folder is empty. If so, remove the folder.",
      },
    );
  }

  /** Runs `work` on the current content of a file. */
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

  /** Creates a draft that contains `text`. */
  async draft(text = ""): Promise<Draft> {
    if (!this.#prepared) await this.#prepare();
    const life = randomUUID();
    const folder = join(this.#drafts, randomUUID());
    // The call is not recursive, so that nothing is created if the volume has disappeared.
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

  /** Gives a draft its name. Returns false if the name is taken. */
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

  /**
   * Replaces the content of a file with a draft if the file still has the tag. Returns the new tag, or undefined if the file has another
   * one.
   */
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
      await unlessMissing(() => unlink(join(folder, String(generation - GENERATIONS_KEPT))));
      return `${life}/${generation}`;
    } catch (error) {
      if (systemErrorCode(error) === "EEXIST" || systemErrorCode(error) === "ENOENT") return undefined;
      throw error;
    } finally {
      await draft.discard();
    }
  }

  /** Removes a file if it exists. */
  async end(name: string): Promise<void> {
    const away = join(this.#drafts, randomUUID());
    const moved = await unlessMissing(() => rename(this.#folderOf(name), away).then(() => true));
    if (moved === undefined) {
      // The file is missing, but so is everything if the volume has disappeared.
      await this.names();
      return;
    }
    await syncFolder(this.#files);
    await rm(away, { recursive: true });
  }

  /** Returns the file system's time, as shown by a new file. Before the first write, returns this machine's time. */
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
    // Names of stored files never contain "~".
    return join(this.#files, name.replace("/", "~"));
  }

  async #prepare(): Promise<void> {
    await this.names();
    if (!this.#seen) {
      // The folders are created in this order, so that the folder for drafts exists whenever the folder for files
      // exists.
      await mkdir(this.#drafts, { recursive: true });
      await mkdir(this.#files, { recursive: true });
      this.#seen = true;
    }
    this.#prepared = true;
    const now = await this.now();
    for (const name of await readdir(this.#drafts)) {
      const folder = join(this.#drafts, name);
      const written = await unlessMissing(() => lastWrite(folder));
      if (written !== undefined && now - written > DRAFT_EXPIRY_MS)
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
