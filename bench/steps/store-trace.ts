import { closeSync, openSync, readSync, writeSync } from "node:fs";
import type { KvOperation, KvProvider, KvRange, KvRow, KvStore } from "@cairn/kv";

/** What a store was asked to do, in the order in which it was done. */
export type TracedRequest =
  | { readonly kind: "batch"; readonly operations: readonly KvOperation[] }
  | { readonly kind: "get"; readonly keys: readonly Uint8Array[] }
  /** `read` is the number of rows that the caller took. */
  | { readonly kind: "range"; readonly range: KvRange; readonly read: number };

const BATCH = 1;
const GET = 2;
const RANGE = 3;
const BUFFER_BYTES = 4 << 20;
const BOUNDS = ["gte", "gt", "lt", "lte"] as const;

/** Returns a provider whose stores record their reads and batches in the file `path`, until `end` is called. */
export function tracing(
  provider: KvProvider,
  path: string,
): { readonly provider: KvProvider; end(): void; readonly requests: () => number } {
  const file = new TraceWriter(path);
  return {
    provider: { ...provider, open: async (dir, options) => traced(await provider.open(dir, options), file) },
    end: () => file.close(),
    requests: () => file.requests,
  };
}

function traced(store: KvStore, file: TraceWriter): KvStore {
  const own: Partial<KvStore> = {
    get(key) {
      file.keys([key]);
      return store.get(key);
    },
    getMany(keys) {
      file.keys(keys);
      return store.getMany(keys);
    },
    range: (range) => tracedRange(store, range, file),
    batch(operations, options) {
      file.batch(operations);
      return store.batch(operations, options);
    },
  };
  return new Proxy(store, {
    get(target, name) {
      const value = (own as Record<PropertyKey, unknown>)[name] ?? Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function* tracedRange(
  store: KvStore,
  range: KvRange,
  file: TraceWriter,
): AsyncGenerator<readonly KvRow[], void, void> {
  let read = 0;
  try {
    for await (const rows of store.range(range)) {
      read += rows.length;
      yield rows;
    }
  } finally {
    file.range(range, read);
  }
}

class TraceWriter {
  requests = 0;
  readonly #file: number;
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  #used = 0;
  #isOpen = true;

  constructor(path: string) {
    this.#file = openSync(path, "w");
  }

  batch(operations: readonly KvOperation[]): void {
    this.#begin(BATCH, operations.length);
    for (const operation of operations) {
      this.#bytes(operation.key);
      this.#number(operation.type === "put" ? 1 : 0);
      if (operation.type === "put") this.#bytes(operation.value);
    }
  }

  keys(keys: readonly Uint8Array[]): void {
    this.#begin(GET, keys.length);
    for (const key of keys) this.#bytes(key);
  }

  range(range: KvRange, read: number): void {
    this.#begin(RANGE, read);
    for (const bound of BOUNDS) this.#bytes(range[bound] ?? new Uint8Array(0));
    this.#number(range.reverse === true ? 1 : 0);
    this.#number(range.limit ?? 0);
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
    this.#isOpen = false;
  }

  #begin(kind: number, count: number): void {
    if (!this.#isOpen) throw new Error("the trace has ended");
    this.requests += 1;
    this.#number(kind);
    this.#number(count);
  }

  #number(value: number): void {
    if (this.#used + 4 > BUFFER_BYTES) this.#flush();
    this.#used = this.#buffer.writeUInt32LE(value, this.#used);
  }

  #bytes(bytes: Uint8Array): void {
    this.#number(bytes.length);
    if (this.#used + bytes.length > BUFFER_BYTES) this.#flush();
    this.#buffer.set(bytes, this.#used);
    this.#used += bytes.length;
  }

  #flush(): void {
    writeSync(this.#file, this.#buffer, 0, this.#used);
    this.#used = 0;
  }
}

/** Yields the requests of a trace. Their bytes are valid until the next one is taken. */
export function* readTrace(path: string): Generator<TracedRequest, void, void> {
  const file = new TraceReader(path);
  try {
    while (file.hasMore()) {
      const kind = file.number();
      const count = file.number();
      if (kind === BATCH)
        yield { kind: "batch", operations: Array.from({ length: count }, () => file.operation()) };
      else if (kind === GET) yield { kind: "get", keys: Array.from({ length: count }, () => file.bytes()) };
      else yield { kind: "range", range: file.range(), read: count };
      file.forget();
    }
  } finally {
    file.close();
  }
}

class TraceReader {
  readonly #file: number;
  #buffer = Buffer.alloc(0);
  #at = 0;
  /** The first byte of the request that is being read. */
  #begin = 0;

  constructor(path: string) {
    this.#file = openSync(path, "r");
  }

  close(): void {
    closeSync(this.#file);
  }

  hasMore(): boolean {
    return this.#holds(1);
  }

  /** Gives up the bytes of the request that was read. */
  forget(): void {
    this.#begin = this.#at;
  }

  number(): number {
    this.#require(4);
    const value = this.#buffer.readUInt32LE(this.#at);
    this.#at += 4;
    return value;
  }

  bytes(): Uint8Array {
    const length = this.number();
    this.#require(length);
    this.#at += length;
    return this.#buffer.subarray(this.#at - length, this.#at);
  }

  operation(): KvOperation {
    const key = this.bytes();
    return this.number() === 1 ? { type: "put", key, value: this.bytes() } : { type: "del", key };
  }

  range(): KvRange {
    const bounds = BOUNDS.map((name) => [name, this.bytes()] as const).filter(
      ([, bytes]) => bytes.length > 0,
    );
    const reverse = this.number() === 1;
    const limit = this.number();
    return { ...Object.fromEntries(bounds), reverse, ...(limit > 0 ? { limit } : {}) };
  }

  #require(length: number): void {
    if (!this.#holds(length)) throw new Error("the trace ends within a request");
  }

  /** Reads until `length` more bytes are in memory. Returns false at the end of the file. */
  #holds(length: number): boolean {
    while (this.#at + length > this.#buffer.length) {
      // Views of the request that is being read stay valid, because the bytes are copied to a new buffer.
      const kept = this.#buffer.subarray(this.#begin);
      const next = Buffer.allocUnsafe(kept.length + Math.max(BUFFER_BYTES, length));
      kept.copy(next);
      const read = readSync(this.#file, next, kept.length, next.length - kept.length, null);
      if (read === 0) return false;
      this.#buffer = next.subarray(0, kept.length + read);
      this.#at -= this.#begin;
      this.#begin = 0;
    }
    return true;
  }
}
