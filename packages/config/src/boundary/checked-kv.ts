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
  type CheckedMethods,
  type Contract,
  isCount,
  isText,
  UNKNOWN_OUTCOME,
} from "./checked-part.ts";

const isValue = (value: unknown): boolean => value === undefined || isUint8Array(value);

const READER: CheckedMethods<KvReader> = {
  get: { what: "a Uint8Array or undefined", is: isValue },
  getText: {
    what: "a string or undefined",
    is: (answer) => answer === undefined || isText(answer),
    isOptional: true,
  },
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
    part: SNAPSHOT,
    isSync: true,
  },
  capture: {
    what: "the numbers of linked files, copied files and bytes",
    is: (answer) => ["linked", "copied", "bytes"].every((name) => isCount(answer?.[name])),
  },
  compact: {},
  purge: {
    what: "a purge",
    part: PURGE,
    isSync: true,
    isOptional: true,
  },
  stats: {
    what: "the numbers of bytes and files",
    is: (answer) => {
      const { bytes, files, missing } = answer ?? {};
      return isCount(bytes) && isCount(files) && (missing === undefined || isCairnError(missing));
    },
  },
  checked: { isOptional: true },
  scrub: { what: "a number of bytes", is: isCount, isOptional: true },
  close: {},
};

export const KV_PROVIDER: Contract<KvProvider> = {
  kind: "key-value store",
  // The node opens the store again. No index is moved aside, because the fault shows nothing about its content.
  code: "SYSTEM_REFUSED",
  tests: "kvStoreSuite of @cairn/kv/testing",
  fields: { format: "string", persistent: "boolean" },
  methods: { open: { what: "a key-value store", part: STORE } },
};

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
