import { constants } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { addAbortSignal } from "node:stream";
import { pathToFileURL } from "node:url";
import { CairnError, makeFolder, systemErrorCode } from "@cairn/kv";
import { CHECKPOINT_PREFIX } from "../../store/checkpoint-name.ts";
import type { CheckpointStore, TaggedText } from "../../store/checkpoint-store.ts";
import { FolderMemory } from "./folder-memory.ts";
import { folderError, inFolder } from "./folder-errors.ts";
import {
  isLink,
  listFolder,
  readFileStream,
  removeDeadTemporaries,
  removeFile,
  writeAll,
} from "./folder-files.ts";
import { contentTag } from "../../store/content-tag.ts";
import {
  alreadyThere,
  notAFile,
  notThere,
  requireStoreName,
  SMALL_FILE_LIMIT,
  tooLarge,
} from "../../store/store-names.ts";
import { replaceIfUnchanged } from "./replace-file.ts";
import { createTemporary, discard, fill, publishNew } from "./write-file.ts";

/** Where a filesystem store lies. */
export interface FilesystemStoreOptions {
  /** A folder; made at the first write. Relative to the working directory. */
  readonly path: string;
  /** Whether all nodes of the cluster have this folder; false when left out. */
  readonly shared?: boolean;
  /** How long a temporary file may go unwritten before its writer counts as dead; an hour when left out. */
  readonly temporaryGraceMs?: number;
  /**
   * A folder in one of this process's own, where it is remembered that the store lay on a volume: after a restart without that volume
   * the store is then unreachable instead of empty. Nothing is remembered when left out.
   */
  readonly rememberIn?: string;
}

/** A checkpoint store in a folder, on a local disk or a shared volume. Nothing is made on disk before the first write. */
export function filesystemStore(options: FilesystemStoreOptions): CheckpointStore {
  const root = resolve(options.path);
  const location = pathToFileURL(root).href;
  const grace = options.temporaryGraceMs ?? 3_600_000;
  const memory = options.rememberIn === undefined ? undefined : new FolderMemory(root, options.rememberIn);
  let exclusive = true;
  let seen: { device: number; withFiles: boolean } | undefined;

  const run = <T>(doing: string, work: () => Promise<T>): Promise<T> => inFolder(location, doing, work);
  const pathOf = (name: string): string => {
    requireStoreName(name);
    return join(root, name);
  };

  /** Whether the folder is there. One that was and is not any more is a volume that went away, not an empty store. */
  async function isThere(): Promise<boolean> {
    try {
      if (seen === undefined) await memory?.check(location);
      const { dev } = await stat(root);
      if (seen !== undefined && seen.device !== dev && seen.withFiles && (await readdir(root)).length === 0) {
        throw vanished(location);
      }
      seen = { device: dev, withFiles: seen?.withFiles ?? false };
      return true;
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      if (seen !== undefined) throw vanished(location);
      return false;
    }
  }

  async function temporary(name: string): Promise<Awaited<ReturnType<typeof createTemporary>>> {
    const before = await isThere();
    // Always beside the archives, where those of dead writers are looked for.
    const file = await createTemporary(root);
    try {
      if (name.includes("/")) await makeOwnFolder(dirname(pathOf(name)));
      if (!before) await isThere();
      return file;
    } catch (error) {
      await discard(file);
      throw error;
    }
  }

  async function readSmall(name: string): Promise<TaggedText | undefined> {
    try {
      // Without waiting: opening a pipe would last until somebody writes to it.
      const file = await open(pathOf(name), constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
      try {
        const found = await file.stat();
        if (!found.isFile()) throw notAFile(name);
        if (found.size > SMALL_FILE_LIMIT) throw tooLarge(name, found.size);
        const content = await file.readFile();
        return { text: content.toString("utf8"), tag: contentTag(content) };
      } finally {
        await file.close();
      }
    } catch (error) {
      const code = systemErrorCode(error);
      // Taken for absent, a name that leads nowhere but cannot be given to a file would look like somebody else's for ever.
      if (code !== undefined && (await isLink(pathOf(name)))) throw notAFile(name);
      if (code !== "ENOENT") throw error;
      await isThere();
      return undefined;
    }
  }

  return {
    location,
    shared: options.shared ?? false,
    get exclusive() {
      return exclusive;
    },

    list: (prefix) =>
      run("listing its files", async () => {
        if (!(await isThere())) return [];
        const files = await listFolder(root, "", prefix);
        if (seen !== undefined && files.length > 0) {
          seen.withFiles = true;
          if (prefix === CHECKPOINT_PREFIX) await memory?.note();
        }
        return files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      }),

    async upload(name, content, { signal, direct } = {}) {
      const target = pathOf(name);
      const doing = `writing ${name}`;
      const file = await run(doing, () => temporary(name));
      let bytes = 0;
      try {
        await run(doing, async () => removeDeadTemporaries(root, (await file.handle.stat()).mtimeMs - grace));
        // Only the writing is the store's: an error of the content itself must keep its own meaning.
        if (direct !== undefined) {
          const explain = (error: unknown): unknown => folderError(error, doing, location);
          bytes = await direct.writeTo(file.handle.fd, { explain, signal });
          content.destroy();
        } else {
          // Only of a stream that is read: the error of one that nobody reads would end the process.
          if (signal !== undefined) addAbortSignal(signal, content);
          for await (const chunk of content) {
            await writeAll(file.handle, chunk, doing, location);
            bytes += chunk.length;
          }
        }
        signal?.throwIfAborted();
      } catch (error) {
        content.destroy();
        await discard(file);
        signal?.throwIfAborted();
        throw error;
      }
      const { done } = await run(doing, () => publishNew(file, target));
      if (!done) throw alreadyThere(name, location);
      return { bytes };
    },

    async open(name, { signal } = {}) {
      const path = pathOf(name);
      const handle = await open(path, "r").catch(async (error: unknown) => {
        if (systemErrorCode(error) !== "ENOENT") throw folderError(error, `reading ${name}`, location);
        await run(`reading ${name}`, isThere);
        throw notThere(name, location);
      });
      return readFileStream(handle, `reading ${name}`, location, signal);
    },

    read: (name) => run(`reading ${name}`, () => readSmall(name)),

    async create(name, text) {
      const target = pathOf(name);
      return run(`writing ${name}`, async () => {
        const file = await temporary(name);
        await fill(file, text);
        const outcome = await publishNew(file, target);
        if (!outcome.atomic) exclusive = false;
        return outcome.done;
      });
    },

    async replace(name, text, tag) {
      const target = pathOf(name);
      return run(`writing ${name}`, async () => {
        if (!(await isThere())) return false;
        const file = await temporary(name);
        await fill(file, text);
        const currentTag = async (): Promise<string | undefined> => (await readSmall(name))?.tag;
        const done = await replaceIfUnchanged(root, file, target, tag, currentTag);
        return done ? { tag: contentTag(Buffer.from(text)) } : false;
      });
    },

    async remove(name) {
      const target = pathOf(name);
      return run(`removing ${name}`, async () => {
        if (!(await isThere())) return;
        await removeFile(target);
      });
    },

    now: () =>
      run("asking for its time", async () => {
        // Before the first write there is nothing whose age could matter, and nothing may be made on disk.
        if (!(await isThere())) return Date.now();
        const file = await createTemporary(root);
        try {
          return Math.floor((await file.handle.stat()).mtimeMs);
        } finally {
          await discard(file);
        }
      }),

    close: async () => undefined,
  };
}

/** A folder of the store itself: through a link, files would come to lie outside of it. */
async function makeOwnFolder(path: string): Promise<void> {
  await makeFolder(path);
  if (await isLink(path)) throw linked(path);
}

function linked(path: string): CairnError {
  return new CairnError("STORE_DENIED", `${path} is a link, and Cairn writes nothing outside of its store.`, {
    hint: "Remove the link; Cairn makes the folder when it needs it.",
  });
}

function vanished(location: string): CairnError {
  return new CairnError("STORE_UNREACHABLE", `The folder of the checkpoint store ${location} has gone.`, {
    hint: "Mount the volume again, or make the folder again if it was removed on purpose.",
  });
}
