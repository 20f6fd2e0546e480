import { open, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { addAbortSignal } from "node:stream";
import { pathToFileURL } from "node:url";
import { CairnError, namesIn, systemErrorCode, systemClock, closing, unlessFailed } from "@cairn/kv";
import type { CheckpointStore, TaggedText } from "../../store/checkpoint-store.ts";
import { CHECKPOINT_PREFIX } from "../../store/checkpoint.ts";
import { LEASE_PREFIX } from "../../store/lease-record.ts";
import {
  alreadyThere,
  contentTag,
  notAFile,
  notThere,
  requireStoreName,
  MAX_SMALL_FILE_BYTES,
  tooLarge,
} from "../../store/stored-files.ts";
import { folderError, inFolder } from "./folder-errors.ts";
import { isLink, listFolder, openFile, readFileRanges, readFileStream, removeFile } from "./folder-files.ts";
import { folderMemory, noFolder } from "./folder-memory.ts";
import {
  createTemporary,
  makeShared,
  discard,
  fill,
  publishNew,
  removeDeadTemporaries,
  replaceIfUnchanged,
} from "./write-file.ts";

export interface FilesystemStoreOptions {
  /** The folder. A relative path is relative to the working directory. The folder is created on the first write. */
  readonly path: string;
  /** Whether all nodes of the cluster share this folder. Defaults to false. */
  readonly shared?: boolean;
  /** The time without writes after which the writer of a temporary file counts as dead (ms). Defaults to an hour. */
  readonly temporaryGraceMs?: number;
  /**
   * A folder, created if its parent exists, in which this process remembers that the store is on a volume: after a
   * restart without it, the store is unreachable instead of empty. By default, nothing is remembered.
   */
  readonly rememberIn?: string;
}

/** A checkpoint store in a folder, local or on a shared volume. Nothing is created on disk before the first write. */
export function filesystemStore(options: FilesystemStoreOptions): CheckpointStore {
  const root = resolve(options.path);
  const location = pathToFileURL(root).href;
  const grace = options.temporaryGraceMs ?? 3_600_000;
  const memory = options.rememberIn === undefined ? undefined : folderMemory(root, options.rememberIn);
  let exclusive = true;
  let seen: { device: number; withFiles: boolean } | undefined;

  const run = <T>(doing: string, work: () => Promise<T>): Promise<T> => inFolder(location, doing, work);
  const pathOf = (name: string): string => {
    requireStoreName(name);
    return join(root, name);
  };

  /**
   * Returns whether the folder exists. Throws if it existed before and has disappeared, or is now on another file
   * system without files of a store, because then a volume was unmounted. {@link folderMemory} detects this after a
   * restart.
   */
  async function isThere(): Promise<boolean> {
    try {
      if (seen === undefined) await memory?.check(location);
      const { dev } = await stat(root);
      if (seen !== undefined && seen.device !== dev) {
        // A mount point may contain foreign files, such as one that says that the volume is missing.
        if (seen.withFiles && !(await namesIn(root)).some(isWrittenByNodes)) {
          const message = `The folder of the checkpoint store ${location} is on another file system than before, and contains no file of a store.`;
          const hint =
            "Mount the volume again; a running node then continues by itself. If the folder is meant to be a new store, restart this process.";
          throw new CairnError("STORE_UNREACHABLE", message, hint);
        }
        await memory?.check(location);
      }
      seen = { device: dev, withFiles: seen?.withFiles ?? false };
      return true;
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      if (seen === undefined) return false;
      throw noFolder(location);
    }
  }

  async function temporary(name: string): Promise<Awaited<ReturnType<typeof createTemporary>>> {
    const before = await isThere();
    // Always next to the archives, because sweeps search there for temporary files of dead writers.
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

  /** Returns the result of opening a file for reading. Throws `NOT_FOUND`. */
  function opened<T>(name: string, opening: (path: string) => Promise<T>): Promise<T> {
    return run(`reading ${name}`, async () => {
      const found = await unlessFailed(opening(pathOf(name)), "ENOENT", undefined);
      if (found !== undefined) return found;
      await isThere();
      throw notThere(name, location);
    });
  }

  async function readSmall(name: string): Promise<TaggedText | undefined> {
    try {
      const { file, size } = await openFile(pathOf(name), name);
      return await closing(file, async () => {
        if (size > MAX_SMALL_FILE_BYTES) throw tooLarge(name, size);
        const content = await file.readFile();
        return { text: content.toString("utf8"), tag: contentTag(content) };
      });
    } catch (error) {
      const code = systemErrorCode(error);
      // If a broken link counted as absent, creating the file would always fail as if another process had created it.
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
        const files = await listFolder(root, "", prefix, location);
        if (seen !== undefined && files.some(({ name }) => isWrittenByNodes(name))) seen.withFiles = true;
        if (prefix === CHECKPOINT_PREFIX && files.length > 0) await memory?.note();
        return files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      }),

    async upload(name, content, { signal, direct } = {}) {
      const target = pathOf(name);
      const doing = `writing ${name}`;
      // The reader below receives the error. Before it reads, the stream's error would otherwise end the process.
      content.on("error", () => undefined);
      const file = await run(doing, () => temporary(name));
      let bytes = 0;
      try {
        // Only write errors are converted, because an error in the content itself must keep its meaning.
        if (direct !== undefined) {
          const explain = (error: unknown): unknown => folderError(error, doing, location);
          bytes = await direct.writeTo(file.handle.fd, { explain, signal });
          content.destroy();
        } else {
          if (signal !== undefined) addAbortSignal(signal, content);
          for await (const chunk of content) {
            await inFolder(location, doing, () => file.handle.writeFile(chunk));
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
      const { done } = await run(doing, () => publishNew(file, target, true));
      if (!done) throw alreadyThere(name, location);
      return { bytes };
    },

    open: async (name, { signal } = {}) =>
      readFileStream(await opened(name, (path) => open(path, "r")), `reading ${name}`, location, signal),

    openRanges: async (name) =>
      readFileRanges(await opened(name, (path) => openFile(path, name)), name, location),

    read: (name) => run(`reading ${name}`, () => readSmall(name)),

    async create(name, text, { durable = true } = {}) {
      const target = pathOf(name);
      return run(`writing ${name}`, async () => {
        const file = await temporary(name);
        await fill(file, text);
        const outcome = await publishNew(file, target, durable);
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

    async remove(name, { durable = true } = {}) {
      const target = pathOf(name);
      return run(`removing ${name}`, async () => {
        if (!(await isThere())) return;
        await removeFile(target, durable);
      });
    },

    now: () =>
      run("reading its clock", async () => {
        // Before the first write, there are no files whose age matters, and nothing may be created on disk.
        if (!(await isThere())) return systemClock.now();
        const file = await createTemporary(root);
        try {
          const { mtimeMs } = await file.handle.stat();
          // Every look, sweep and prune asks for the time, even if nothing is uploaded.
          await removeDeadTemporaries(root, mtimeMs - grace);
          return Math.floor(mtimeMs);
        } finally {
          await discard(file);
        }
      }),

    close: async () => undefined,
  };
}

/** Creates a folder of the store. Rejects a link, since files would be written through it outside the store. */
async function makeOwnFolder(path: string): Promise<void> {
  await makeShared(path);
  if (!(await isLink(path))) return;
  throw new CairnError(
    "STORE_DENIED",
    `${path} is a link, and Cairn does not write outside its store.`,
    "Remove the link. Cairn creates the folder when it needs it.",
  );
}

const NODES_PREFIXES = [CHECKPOINT_PREFIX, LEASE_PREFIX, "log-"];

function isWrittenByNodes(name: string): boolean {
  return NODES_PREFIXES.some((prefix) => name.startsWith(prefix));
}
