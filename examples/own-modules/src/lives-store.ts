import { addAbortSignal } from "node:stream";
import { pathToFileURL } from "node:url";
import {
  type CheckpointStore,
  type StoredFile,
  requireStoreName,
  MAX_SMALL_FILE_BYTES,
} from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { onDisk } from "./file-system.ts";
import { LivesFolder } from "./lives-folder.ts";
import { pathOption } from "./options.ts";

/** The error codes for disk errors. */
const CODES = { full: "STORE_FULL", denied: "STORE_DENIED", other: "STORE_UNREACHABLE" } as const;

/** Creates a checkpoint store in a folder, in which processes change files without locks; {@link LivesFolder} explains how. */
export function createStore(options: Readonly<Record<string, unknown>>): CheckpointStore {
  const path = pathOption(options);
  const folder = new LivesFolder(path);
  const location = pathToFileURL(path).href;
  const run = <T>(work: () => Promise<T>): Promise<T> => onDisk(CODES, location, work);
  return {
    location,
    exclusive: true,

    list: (prefix) =>
      run(async () => {
        const found: StoredFile[] = [];
        for (const name of await folder.names()) {
          if (!name.startsWith(prefix)) continue;
          const file = await folder.withLatest(name, (handle) => handle.stat());
          // The result is undefined if the file was removed in the meantime.
          if (file !== undefined) {
            found.push({ name, bytes: file.result.size, modifiedAt: Math.floor(file.result.mtimeMs) });
          }
        }
        return found.toSorted((a, b) => (a.name < b.name ? -1 : 1));
      }),

    async upload(name, content, { signal } = {}) {
      requireStoreName(name);
      // The reader below receives the error. Before it reads, the stream's error would otherwise end the process.
      content.on("error", () => undefined);
      const draft = await run(() => folder.draft());
      let bytes = 0;
      try {
        if (signal !== undefined) addAbortSignal(signal, content);
        for await (const chunk of content) {
          // Only errors of the draft may become errors of the store, not those of the content.
          await run(() => draft.append(chunk));
          bytes += chunk.length;
        }
        signal?.throwIfAborted();
      } catch (error) {
        content.destroy();
        await run(() => draft.discard());
        signal?.throwIfAborted();
        throw error;
      }
      if (await run(() => folder.begin(name, draft))) return { bytes };
      throw new CairnError("CONFLICT", `${name} is already in ${location}.`, {
        hint: "Use the existing file: another node has uploaded it.",
      });
    },

    async open(name, { signal } = {}) {
      requireStoreName(name);
      const file = await run(() => folder.openLatest(name));
      if (file === undefined) {
        throw new CairnError("NOT_FOUND", `${name} is not in ${location}.`, {
          hint: "It may have been removed just now.",
        });
      }
      // Open files remain readable whatever happens to their names.
      const stream = file.handle.createReadStream();
      return signal === undefined ? stream : addAbortSignal(signal, stream);
    },

    async read(name) {
      requireStoreName(name);
      const file = await run(() =>
        folder.withLatest(name, async (handle) => {
          const { size } = await handle.stat();
          if (size <= MAX_SMALL_FILE_BYTES) return await handle.readFile("utf8");
          throw new CairnError(
            "CHECKPOINT_CORRUPT",
            `${name} has ${size} bytes, which is too many for a record.`,
            {
              hint: "Remove it from the store.",
            },
          );
        }),
      );
      return file === undefined ? undefined : { text: file.result, tag: file.tag };
    },

    async create(name, text) {
      requireStoreName(name);
      return await run(async () => await folder.begin(name, await folder.draft(text)));
    },

    async replace(name, text, tag) {
      requireStoreName(name);
      return await run(async () => {
        const next = await folder.succeed(name, tag, await folder.draft(text));
        return next === undefined ? false : { tag: next };
      });
    },

    async remove(name) {
      requireStoreName(name);
      await run(() => folder.end(name));
    },

    now: () => run(() => folder.now()),
    close: async () => undefined,
  };
}
