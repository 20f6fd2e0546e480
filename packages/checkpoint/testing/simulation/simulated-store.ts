import { addAbortSignal, Readable } from "node:stream";
import {
  alreadyThere,
  MAX_SMALL_FILE_BYTES,
  notThere,
  requireStoreName,
  tooLarge,
} from "../../src/store/stored-files.ts";
import type { CheckpointStore } from "../../src/index.ts";

/** The kinds of requests to a store, each named after a method. */
export type RequestKind = "list" | "upload" | "open" | "read" | "create" | "replace" | "remove" | "now";

/** The transport between a node and the store, which takes time and may fail. */
export interface Transport {
  /** Runs `work` at the store, at one instant of its time, and returns the result. */
  request<T>(kind: RequestKind, work: () => T): Promise<T>;
  /** Resolves when a piece of an upload has arrived. */
  transfer(bytes: number): Promise<void>;
}

/** A stored file. */
export interface SimulatedFile {
  readonly content: Buffer;
  readonly modifiedAt: number;
  readonly tag: string;
}

/** The events of a store. `before` is the previous content of a name. */
export interface StoreWatcher {
  uploadBegins?(name: string): void;
  pieceArrives?(name: string, bytes: number): void;
  uploadEnds?(name: string, whole: boolean): void;
  written?(name: string, file: SimulatedFile, before: SimulatedFile | undefined): void;
  removed?(name: string, before: SimulatedFile): void;
}

/** The content of a store, as all nodes see it. */
export interface StoreContents {
  readonly files: Map<string, SimulatedFile>;
  readonly now: () => number;
  /** Whether the store claims that conditional writes are exclusive. */
  readonly exclusive: boolean;
  /** Whether conditional writes really are exclusive. If not, another node may write a file between the check and the write. */
  readonly atomic: boolean;
  /** The number of writes, from which tags are generated. */
  writes: number;
}

/** Returns a node's view of a store. */
export function simulatedStore(
  contents: StoreContents,
  transport: Transport,
  watcher: StoreWatcher = {},
): CheckpointStore {
  const { files, exclusive, atomic } = contents;
  const location = "simulated://store";
  const put = (name: string, content: Buffer): SimulatedFile => {
    const before = files.get(name);
    contents.writes += 1;
    const file = { content, modifiedAt: contents.now(), tag: `tag-${contents.writes}` };
    files.set(name, file);
    watcher.written?.(name, file, before);
    return file;
  };
  const request = async <T>(kind: RequestKind, name: string, work: () => T): Promise<T> => {
    requireStoreName(name);
    return transport.request(kind, work);
  };
  return {
    location,
    exclusive,
    list: (prefix) =>
      transport.request("list", () =>
        [...files]
          .filter(([name]) => name.startsWith(prefix))
          .map(([name, { content, modifiedAt }]) => ({ name, bytes: content.length, modifiedAt }))
          .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      ),
    async upload(name, content, { signal } = {}) {
      requireStoreName(name);
      if (signal !== undefined) addAbortSignal(signal, content);
      const pieces: Buffer[] = [];
      let whole = false;
      watcher.uploadBegins?.(name);
      try {
        for await (const piece of content) {
          const arrived = Buffer.from(piece);
          await untilAborted(transport.transfer(arrived.length), signal);
          watcher.pieceArrives?.(name, arrived.length);
          pieces.push(arrived);
        }
        const bytes = await transport.request("upload", () => {
          if (files.has(name)) throw alreadyThere(name, location);
          return put(name, Buffer.concat(pieces)).content.length;
        });
        whole = true;
        return { bytes };
      } catch (error) {
        signal?.throwIfAborted();
        throw error;
      } finally {
        content.destroy();
        watcher.uploadEnds?.(name, whole);
      }
    },
    open: async (name, { signal } = {}) => {
      const content = await request("open", name, () => {
        const file = files.get(name);
        if (file === undefined) throw notThere(name, location);
        return file.content;
      });
      const aborting = signal === undefined ? {} : { signal };
      return Readable.from(slices(content), { objectMode: false, ...aborting });
    },
    read: (name) =>
      request("read", name, () => {
        const file = files.get(name);
        if (file === undefined) return undefined;
        if (file.content.length > MAX_SMALL_FILE_BYTES) throw tooLarge(name, file.content.length);
        return { text: file.content.toString("utf8"), tag: file.tag };
      }),
    async create(name, text) {
      if (!atomic && (await request("create", name, () => files.has(name)))) return false;
      return request("create", name, () => {
        if (atomic && files.has(name)) return false;
        put(name, Buffer.from(text));
        return true;
      });
    },
    async replace(name, text, tag) {
      const current = (): boolean => files.get(name)?.tag === tag;
      if (!atomic && !(await request("replace", name, current))) return false;
      return request("replace", name, () => {
        if (atomic && !current()) return false;
        return { tag: put(name, Buffer.from(text)).tag };
      });
    },
    remove: (name) =>
      request("remove", name, () => {
        const before = files.get(name);
        if (before === undefined) return;
        files.delete(name);
        watcher.removed?.(name, before);
      }),
    now: () => transport.request("now", () => contents.now()),
    close: async () => undefined,
  };
}

function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

function* slices(content: Buffer): Generator<Buffer> {
  for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
}
