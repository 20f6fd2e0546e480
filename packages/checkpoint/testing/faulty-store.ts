import { Readable } from "node:stream";
import { CairnError } from "@cairn/kv";
import { type CheckpointStore, endsEarly, type StoredRanges } from "../src/index.ts";

/** A call of a store's method; `nth` counts the calls of that method, starting with 1. */
export interface StoreCall {
  readonly method:
    | "list"
    | "upload"
    | "open"
    | "openRanges"
    | "readRange"
    | "read"
    | "create"
    | "replace"
    | "remove"
    | "now";
  /** The file's name, or the prefix of a listing; empty for `now`. */
  readonly name: string;
  readonly nth: number;
}

/** The faults, which are evaluated at every call. They may be changed while the store is in use. */
export interface StoreFaults {
  /** Awaited before the call, to delay it or to let something else happen first. */
  before?: (call: StoreCall) => Promise<void>;
  /** Returns an error with which the call fails before anything is done. */
  fail?: (call: StoreCall) => CairnError | undefined;
  /** Returns an error with which the call fails after it has taken effect, as if its response were lost. */
  failAfter?: (call: StoreCall) => CairnError | undefined;
  /** Returns the number of bytes after which reading an opened file fails with `STORE_UNREACHABLE`. */
  cutAfter?: (name: string) => number | undefined;
  /** Returns the number of bytes after which an opened file ends without an error; ranges beyond it are missing. */
  endAfter?: (name: string) => number | undefined;
  /** Returns the offset of a byte that is changed in an opened file. */
  flipAt?: (name: string) => number | undefined;
}

/** Returns the error of a store that does not respond. */
export function unreachable(): CairnError {
  return new CairnError("STORE_UNREACHABLE", "The store does not respond.", {
    hint: "Change the test, which injected this error.",
  });
}

/** Returns `store` with faults. Without faults, it behaves exactly like `store`. */
export function faultyStore(store: CheckpointStore, faults: StoreFaults): CheckpointStore {
  const counts = new Map<StoreCall["method"], number>();

  async function call<T>(method: StoreCall["method"], name: string, work: () => Promise<T>): Promise<T> {
    const nth = (counts.get(method) ?? 0) + 1;
    counts.set(method, nth);
    const is = { method, name, nth };
    await faults.before?.(is);
    const error = faults.fail?.(is);
    if (error !== undefined) throw error;
    const answer = await work();
    const lost = faults.failAfter?.(is);
    if (lost !== undefined) throw lost;
    return answer;
  }

  const openRanges = store.openRanges?.bind(store);

  async function readRange(
    ranges: StoredRanges,
    name: string,
    ...range: Parameters<StoredRanges["read"]>
  ): Promise<Buffer> {
    const [start, end] = range;
    if (end > (faults.cutAfter?.(name) ?? Infinity)) throw unreachable();
    if (end > (faults.endAfter?.(name) ?? Infinity)) throw endsEarly(name, store.location, end);
    return flipped(await ranges.read(...range), start, faults.flipAt?.(name));
  }

  return {
    location: store.location,
    ...(store.identity === undefined ? {} : { identity: store.identity }),
    ...(store.readOnly === undefined ? {} : { readOnly: store.readOnly }),
    encryption: store.encryption,
    get exclusive() {
      return store.exclusive;
    },
    list: (prefix) => call("list", prefix, () => store.list(prefix)),
    async upload(name, content, options) {
      try {
        return await call("upload", name, () => store.upload(name, content, options));
      } catch (error) {
        content.destroy();
        throw error;
      }
    },
    open: (name, options) =>
      call("open", name, async () => {
        const content = await store.open(name, options);
        // If the result is destroyed before it is read, nothing else handles an error of the content, nor releases it.
        content.on("error", () => undefined);
        const result = Readable.from(spoiled(content, name, faults), { objectMode: false });
        return result.once("close", () => content.destroy());
      }),
    ...(openRanges === undefined
      ? {}
      : {
          openRanges: (name) =>
            call("openRanges", name, async () => {
              const ranges = await openRanges(name);
              return {
                read: (...range) => call("readRange", name, () => readRange(ranges, name, ...range)),
                close: () => ranges.close(),
              };
            }),
        }),
    read: (name) => call("read", name, () => store.read(name)),
    create: (name, text, options) => call("create", name, () => store.create(name, text, options)),
    replace: (name, text, tag) => call("replace", name, () => store.replace(name, text, tag)),
    remove: (name, options) => call("remove", name, () => store.remove(name, options)),
    ...(store.describe === undefined ? {} : { describe: () => store.describe?.() }),
    ...(store.tidy === undefined ? {} : { tidy: async (which) => (await store.tidy?.(which)) ?? [] }),
    now: () => call("now", "", () => store.now()),
    close: () => store.close(),
  };
}

async function* spoiled(
  content: Readable,
  name: string,
  faults: StoreFaults,
): AsyncGenerator<Buffer, void, undefined> {
  const cut = faults.cutAfter?.(name);
  const end = faults.endAfter?.(name);
  const limit = Math.min(cut ?? Infinity, end ?? Infinity);
  let at = 0;
  for await (const read of content) {
    const chunk = flipped(Buffer.from(read), at, faults.flipAt?.(name));
    if (at + chunk.length >= limit) {
      yield chunk.subarray(0, limit - at);
      if (cut !== undefined && cut === limit) throw unreachable();
      return;
    }
    at += chunk.length;
    yield chunk;
  }
}

/** Changes the byte at the offset `at` of the file, if `bytes`, which begin at `start`, contain it. */
function flipped(bytes: Buffer, start: number, at: number | undefined): Buffer {
  if (at !== undefined && at >= start && at < start + bytes.length) {
    bytes.writeUInt8(bytes.readUInt8(at - start) ^ 0x01, at - start);
  }
  return bytes;
}
