import { addAbortSignal, Readable } from "node:stream";
import { systemClock } from "@cairn/kv";
import type { CheckpointStore } from "../src/store/checkpoint-store.ts";
import {
  alreadyThere,
  contentTag,
  endsEarly,
  notThere,
  requireStoreName,
  MAX_SMALL_FILE_BYTES,
  tooLarge,
} from "../src/store/stored-files.ts";

export interface MemoryStoreOptions {
  readonly now?: () => number;
  /** The name in the store's location. Defaults to `store`. */
  readonly name?: string;
}

interface Entry {
  readonly content: Buffer;
  readonly modifiedAt: number;
}

/** Creates a store in this process's memory, for tests. */
export function memoryStore(options: MemoryStoreOptions = {}): CheckpointStore {
  const files = new Map<string, Entry>();
  const location = `memory://${options.name ?? "store"}`;
  const clock = options.now ?? systemClock.now;
  const put = (name: string, content: Buffer): void => {
    files.set(name, { content, modifiedAt: clock() });
  };
  const opened = (name: string): Buffer => {
    requireStoreName(name);
    const file = files.get(name);
    if (file === undefined) throw notThere(name, location);
    return file.content;
  };
  return {
    location,
    exclusive: true,
    async list(prefix) {
      return [...files]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, file]) => ({ name, bytes: file.content.length, modifiedAt: file.modifiedAt }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
    async upload(name, content, { signal } = {}) {
      requireStoreName(name);
      if (signal !== undefined) addAbortSignal(signal, content);
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of content) chunks.push(Buffer.from(chunk));
      } finally {
        signal?.throwIfAborted();
      }
      if (files.has(name)) throw alreadyThere(name, location);
      const whole = Buffer.concat(chunks);
      put(name, whole);
      return { bytes: whole.length };
    },
    open: async (name, { signal } = {}) =>
      Readable.from(slices(opened(name)), {
        objectMode: false,
        signal,
      }),
    async openRanges(name) {
      const content = opened(name);
      return {
        async read(start, end, signal) {
          signal?.throwIfAborted();
          if (end > content.length) throw endsEarly(name, location, end);
          return Buffer.from(content.subarray(start, end));
        },
        close: async () => undefined,
      };
    },
    async read(name) {
      requireStoreName(name);
      const file = files.get(name);
      if (file === undefined) return undefined;
      if (file.content.length > MAX_SMALL_FILE_BYTES) throw tooLarge(name, file.content.length);
      return { text: file.content.toString("utf8"), tag: contentTag(file.content) };
    },
    async create(name, text) {
      requireStoreName(name);
      if (files.has(name)) return false;
      put(name, Buffer.from(text));
      return true;
    },
    async replace(name, text, tag) {
      requireStoreName(name);
      const file = files.get(name);
      if (file === undefined || contentTag(file.content) !== tag) return false;
      const content = Buffer.from(text);
      put(name, content);
      return { tag: contentTag(content) };
    },
    async remove(name) {
      requireStoreName(name);
      files.delete(name);
    },
    now: async () => clock(),
    close: async () => undefined,
  };
}

function* slices(content: Buffer): Generator<Buffer> {
  for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
}
