import { setMaxListeners } from "node:events";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import type { CheckpointStore, StoredFile, StoredRanges } from "../../src/index.ts";
import { checkpointStoreCases } from "../../testing/checkpoint-store-suite.ts";
import { faultyStore, memoryStore, type StoreFaults, unreachable } from "../../testing/index.ts";

/** A store that breaks one promise of the interface: what it does differently from the store that it is given. */
type Mutant = (store: CheckpointStore) => Partial<CheckpointStore>;

/** Each promise of {@link CheckpointStore} has a store here that breaks it. */
const MUTANTS: Readonly<Record<string, Mutant>> = {
  "lists files in no order": (store) => ({
    list: async (prefix) => (await store.list(prefix)).toReversed(),
  }),
  "ignores the prefix of a listing": (store) => ({ list: () => store.list("") }),
  "lists no files in folders": (store) => ({
    list: async (prefix) => (await store.list(prefix)).filter(({ name }) => !name.includes("/")),
  }),
  "lists times that are not those of its clock": (store) => ({
    list: async (prefix) => (await store.list(prefix)).map((file) => ({ ...file, modifiedAt: 0 })),
  }),
  "lists wrong sizes": (store) => ({
    list: async (prefix) => (await store.list(prefix)).map((file) => ({ ...file, bytes: 1 })),
  }),
  "looks empty while it is unreachable": (store) => ({
    list: async (prefix) => await store.list(prefix).catch((): StoredFile[] => []),
  }),
  "reads nothing while it is unreachable": (store) => ({
    read: async (name) => await store.read(name).catch(passing("STORE_UNREACHABLE", undefined)),
  }),
  "says that a file is missing while it is unreachable": (store) => ({
    open: async (name, options) => {
      const content = await store.open(name, options).catch(passing("STORE_UNREACHABLE", undefined));
      if (content !== undefined) return content;
      throw Object.assign(new Error("not there"), { code: "NOT_FOUND" });
    },
  }),
  "claims to have removed a file while it is unreachable": (store) => ({
    remove: async (name) => await store.remove(name).catch(passing("STORE_UNREACHABLE", undefined)),
  }),
  "claims that a file exists while it is unreachable": (store) => ({
    create: async (name, text) => await store.create(name, text).catch(passing("STORE_UNREACHABLE", false)),
  }),
  "claims that a tag differs while it is unreachable": (store) => ({
    replace: async (name, text, tag) =>
      await store.replace(name, text, tag).catch(passing("STORE_UNREACHABLE", false)),
  }),
  "uses another clock while it is unreachable": (store) => ({
    now: async () => await store.now().catch(Date.now),
  }),
  "overwrites a file with an upload": (store) => ({
    upload: async (name, content, options) => {
      await store.remove(name);
      return await store.upload(name, content, options);
    },
  }),
  "publishes an upload before its end": (store) => ({
    upload: async (name, content, options) => {
      if (!(await store.create(name, ""))) return await store.upload(name, content, options);
      const whole = await content.toArray().finally(() => store.remove(name));
      return await store.upload(name, Readable.from(whole, { objectMode: false }), options);
    },
  }),
  "keeps an upload whose content failed": (store) => ({
    upload: async (name, content, options) =>
      await store.upload(name, content, options).catch(async (error: unknown) => {
        await store.create(name, "").catch(() => undefined);
        throw error;
      }),
  }),
  "throws its own error for content that failed": (store) => ({
    upload: async (name, content, options) =>
      await store.upload(name, content, options).catch((error: unknown) => {
        throw error instanceof Error && "code" in error ? error : unreachable();
      }),
  }),
  "counts the bytes of an upload wrongly": (store) => ({
    upload: async (name, content, options) => {
      await store.upload(name, content, options);
      return { bytes: 1 };
    },
  }),
  "ignores the signal of an upload": (store) => ({
    upload: async (name, content, { signal, ...options } = {}) => {
      signal?.addEventListener("abort", () => content.push(null));
      return await store.upload(name, content, options);
    },
  }),
  "opens a missing file as an empty one": (store) => ({
    open: async (name, options) =>
      (await store.open(name, options).catch(passing("NOT_FOUND", undefined))) ?? Readable.from([]),
  }),
  "ignores the signal of an open file": (store) => ({ open: (name) => store.open(name) }),
  "ends an open file early": (store) => faultyStore(store, { endAfter: () => 65_536 }),
  "reads ranges one byte further on": (store) => ({
    openRanges: rangesOf(store, (ranges) => (start, end) => ranges.read(Math.min(start + 1, end), end)),
  }),
  "reads ranges beyond the end as zeros": (store) => ({
    openRanges: rangesOf(
      store,
      (ranges) => (start, end, signal) =>
        ranges
          .read(start, end, signal)
          .catch(passing("CHECKPOINT_CORRUPT", Buffer.alloc(Math.min(10, end - start)))),
    ),
  }),
  "finds ranges of a missing file corrupt": (store) => ({
    openRanges: async (name) => {
      const found = await store.openRanges?.(name).catch(passing("NOT_FOUND", undefined));
      return found ?? { read: async () => await Promise.reject(corrupt()), close: async () => undefined };
    },
  }),
  "reads ranges of whatever version there is": (store) => ({
    openRanges: rangesOf(store, (_, name) => async (...range) => {
      const newest = await store.openRanges?.(name);
      return (await newest?.read(...range)) ?? Buffer.alloc(0);
    }),
  }),
  "finds ranges of a removed file corrupt": (store) => ({
    openRanges: rangesOf(store, (ranges, name) => async (...range) => {
      await store.openRanges?.(name).catch(() => Promise.reject(corrupt()));
      return await ranges.read(...range);
    }),
  }),
  "ignores the signal of a range": (store) => ({
    openRanges: rangesOf(store, (ranges) => (start, end) => ranges.read(start, end)),
  }),
  "ends all reads of ranges when one is aborted": (store) => ({
    openRanges: rangesOf(store, (ranges) => {
      let ended: AbortSignal | undefined;
      return (start, end, signal) => {
        ended ??= signal?.aborted === true ? signal : undefined;
        return ranges.read(start, end, ended ?? signal);
      };
    }),
  }),
  "closes all ranges of a file at once": (store) => {
    let isClosed = false;
    return {
      openRanges: async (name) => {
        const ranges = await store.openRanges?.(name);
        if (ranges === undefined) throw unreachable();
        const read: StoredRanges["read"] = (...range) =>
          isClosed ? Promise.reject(unreachable()) : ranges.read(...range);
        return { read, close: async () => void (isClosed = true) };
      },
    };
  },
  "warns about many readers of ranges": (store) => ({
    openRanges: rangesOf(store, (ranges) => async (start, end, signal) => {
      // From Node 22 on, signals do not warn by themselves.
      if (signal !== undefined) setMaxListeners(10, signal);
      signal?.addEventListener("abort", () => ranges.close());
      await new Promise(setImmediate);
      return await ranges.read(start, end, signal);
    }),
  }),
  "says that a file is missing from ranges while it is unreachable": (store) => ({
    openRanges: async (name) =>
      await (store.openRanges?.(name) ?? Promise.reject(unreachable())).catch(() => {
        throw Object.assign(new Error("not there"), { code: "NOT_FOUND" });
      }),
  }),
  "opens ranges of every name": (store) => ({
    openRanges: async (name) =>
      (await store.openRanges?.(name).catch(passing("CHECKPOINT_CORRUPT", undefined))) ?? {
        read: async () => Buffer.alloc(1),
        close: async () => undefined,
      },
  }),
  "reads a missing file as an empty one": (store) => ({
    read: async (name) => (await store.read(name)) ?? { text: "", tag: "" },
  }),
  "reads a file of any size into memory": (store) => ({
    read: async (name) => {
      const content = await store.open(name).catch(() => undefined);
      if (content === undefined) return await store.read(name);
      const text = (await content.toArray()).join("");
      return { text, tag: (await store.read(name).catch(() => undefined))?.tag ?? "" };
    },
  }),
  "returns a tag that is not the file's": (store) => ({
    read: async (name) => {
      const found = await store.read(name);
      return found && { ...found, tag: "stale" };
    },
  }),
  "overwrites a file that it creates": (store) => ({
    create: async (name, text) => {
      await store.remove(name);
      return await store.create(name, text);
    },
  }),
  "lets several calls create a file": (store) => ({
    create: async (name, text) => {
      if ((await store.read(name)) !== undefined) return false;
      await store.create(name, text);
      return true;
    },
  }),
  "shows a part of a file that it creates": (store) => ({
    create: async (name, text) => {
      if (!(await store.create(name, text.slice(1)))) return false;
      await new Promise(setImmediate);
      const { tag = "" } = (await store.read(name)) ?? {};
      return (await store.replace(name, text, tag)) !== false;
    },
  }),
  "stores another encoding": (store) => ({
    create: (name, text) => store.create(name, Buffer.from(text, "latin1").toString("latin1")),
  }),
  "replaces a file whatever its tag is": (store) => ({
    replace: async (name, text) => await store.replace(name, text, (await store.read(name))?.tag ?? ""),
  }),
  "creates a missing file instead of replacing it": (store) => ({
    replace: async (name, text, tag) =>
      (await store.create(name, text)) ? { tag } : await store.replace(name, text, tag),
  }),
  "returns the tag before a replacement": (store) => ({
    replace: async (name, text, tag) => (await store.replace(name, text, tag)) && { tag },
  }),
  "throws for the removal of a missing file": (store) => ({
    remove: async (name) => {
      await (await store.open(name)).destroy();
      await store.remove(name);
    },
  }),
  "removes nothing": () => ({ remove: async () => undefined }),
  "accepts every name": (store) => ({
    remove: async (name) => await store.remove(name).catch(passing("CHECKPOINT_CORRUPT", undefined)),
  }),
  "returns the time in seconds": (store) => ({ now: async () => (await store.now()) / 1000 }),
  "goes back in time": (store) => {
    let calls = 0;
    return { now: async () => (await store.now()) - 1000 * calls++ };
  },
  "removes its content when it is closed": (store) => ({
    close: async () => {
      for (const { name } of await store.list("")) await store.remove(name);
    },
  }),
};

test.each(Object.entries(MUTANTS))("a store that %s fails the suite", async (_, mutant) => {
  expect(await brokenCase(mutant)).toBeDefined();
});

test("a store that breaks nothing passes the suite", async () => {
  expect(await brokenCase(() => ({}))).toBeUndefined();
});

/** Returns the title of the first case that the mutant fails. */
async function brokenCase(mutant: Mutant): Promise<string | undefined> {
  const faults = new WeakMap<CheckpointStore, StoreFaults>();
  const cases = checkpointStoreCases({
    open: async () => {
      const ownFaults: StoreFaults = {};
      const store = faultyStore(memoryStore(), ownFaults);
      const broken: CheckpointStore = { ...store, ...mutant(store) };
      faults.set(broken, ownFaults);
      return broken;
    },
    // A store in memory can be used after it was closed.
    reopen: async (store) => store,
    away: async (store) => void Object.assign(faults.get(store) ?? {}, { fail: unreachable }),
    hasRanges: true,
  });
  for (const { title, run } of cases) {
    try {
      await run();
    } catch {
      return title;
    }
  }
  return undefined;
}

/** Returns `openRanges` of a store whose reads of ranges are different. */
function rangesOf(
  store: CheckpointStore,
  change: (ranges: StoredRanges, name: string) => StoredRanges["read"],
): (name: string) => Promise<StoredRanges> {
  return async (name) => {
    const ranges = await store.openRanges?.(name);
    if (ranges === undefined) throw unreachable();
    return { read: change(ranges, name), close: () => ranges.close() };
  };
}

function corrupt(): Error {
  return Object.assign(new Error("damaged"), { code: "CHECKPOINT_CORRUPT" });
}

/** Returns a handler that turns errors with `code` into `result`, and throws the others. */
function passing<T>(code: string, result: T): (error: Error & { readonly code?: string }) => T {
  return (error) => {
    if (error.code === code) return result;
    throw error;
  };
}
