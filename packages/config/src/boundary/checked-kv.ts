import { isUint8Array } from "node:util/types";
import {
  isCairnError,
  type KvProvider,
  type KvPurge,
  type KvPurged,
  type KvRange,
  type KvReader,
  type KvSnapshot,
  type KvStore,
} from "@cairn/kv";
import {
  type AnyAnswer,
  boundaryOf,
  type CheckedMethods,
  checkedPart,
  hasMethods,
  isCount,
  isText,
  UNKNOWN_OUTCOME,
} from "./checked-part.ts";

const isValue = (value: unknown): boolean => value === undefined || isUint8Array(value);

const READER: CheckedMethods<KvReader> = {
  get: { what: "a Uint8Array or undefined", is: isValue },
  getText: { what: "a string or undefined", is: (answer) => answer === undefined || isText(answer) },
  getMany: {
    what: "a Uint8Array or undefined for each key",
    is: (answer: unknown, keys) =>
      Array.isArray(answer) && answer.length === keys.length && answer.every(isValue),
  },
  range: { what: "a row of the range, with the next key in its order", rows: isNextRow },
};

const SNAPSHOT: CheckedMethods<KvSnapshot> = { ...READER, close: {} };

const PURGED: ReadonlySet<unknown> = new Set<KvPurged>(["gone", "unfinished", "read", "named"]);

const PURGE: CheckedMethods<KvPurge> = {
  run: { what: "the state of the purge", is: (answer: unknown) => PURGED.has(answer) },
};

const STORE: CheckedMethods<KvStore> = {
  ...READER,
  batch: { outcome: UNKNOWN_OUTCOME },
  snapshot: {
    what: "a snapshot",
    is: (answer) => hasMethods(answer, ["get", "getMany", "range", "close"]),
    within: (snapshot: KvSnapshot, boundary) => checkedPart(snapshot, SNAPSHOT, boundary),
    isSync: true,
  },
  capture: {
    what: "the numbers of linked files, copied files and bytes",
    is: (answer) => ["linked", "copied", "bytes"].every((name) => isCount(answer?.[name])),
  },
  compact: {},
  purge: {
    what: "a purge",
    is: (answer) => hasMethods(answer, ["run"]),
    within: (purge: KvPurge, boundary) => checkedPart(purge, PURGE, boundary),
    isSync: true,
  },
  stats: {
    what: "the numbers of bytes and files",
    is: (answer) => {
      const { bytes, files, missing } = answer ?? {};
      return isCount(bytes) && isCount(files) && (missing === undefined || isCairnError(missing));
    },
  },
  checked: {},
  scrub: { what: "a number of bytes", is: isCount },
  close: {},
};

const PROVIDER: CheckedMethods<KvProvider> = {
  open: {
    what: "a key-value store",
    is: (answer) =>
      hasMethods(answer, [
        "get",
        "getMany",
        "range",
        "batch",
        "snapshot",
        "capture",
        "compact",
        "stats",
        "close",
      ]),
    within: (store: KvStore, boundary) => checkedPart(store, STORE, boundary),
  },
};

/** Returns the provider of a module of one's own, with the answers of its stores checked. */
export function checkedKvProvider(provider: KvProvider, id: string): KvProvider {
  // The node opens the store again. No index is moved aside, because the fault shows nothing about its content.
  const tests = "kvStoreSuite of @cairn/kv/testing";
  return checkedPart(provider, PROVIDER, boundaryOf("key-value store", id, "SYSTEM_REFUSED", tests));
}

/** Documents have checksums, but nothing else shows that rows are in a wrong order, or there twice. */
function isNextRow({
  gte,
  gt,
  lt,
  lte,
  reverse = false,
  limit = Infinity,
}: KvRange): (row: AnyAnswer) => boolean {
  const sign = reverse ? -1 : 1;
  const end = reverse ? (gt ?? gte) : (lt ?? lte);
  const isEndIn = end === (reverse ? gte : lte);
  // The key after which the next one comes, and whether it may be that key itself.
  let last = reverse ? (lt ?? lte) : (gt ?? gte);
  let isLastIn = last === (reverse ? lte : gte);
  let left = limit;
  return (row) => {
    const [key, value]: readonly unknown[] = Array.isArray(row) ? row : [];
    if (!isUint8Array(key) || !isUint8Array(value)) return false;
    const afterLast = last === undefined ? 1 : sign * Buffer.compare(key, last);
    const beforeEnd = end === undefined ? 1 : sign * Buffer.compare(end, key);
    const isNext = afterLast > 0 || (afterLast === 0 && isLastIn);
    left -= 1;
    last = key;
    isLastIn = false;
    return isNext && left >= 0 && (beforeEnd > 0 || (beforeEnd === 0 && isEndIn));
  };
}
