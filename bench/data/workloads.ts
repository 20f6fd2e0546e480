import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Policies } from "@cairn/node";
import { scattered } from "./records.ts";

/** The bucket of the documents that workloads write. */
const BUCKET = "items";
const POOL_LENGTH = 1 << 20;
// The strides are odd and larger than a text, so that neighbours have nothing in common that could be compressed.
const STRIDE = 104_729;
const STATES = ["open", "busy", "done"];
/** How often the workloads that update documents write each of them. */
const WRITES_PER_KEY = 5;
const PUTS_PER_TRANSACTION = 100;
const TEXT_LENGTH = 200;
const LARGE_LENGTH = 60_000;

/** A log of transactions of one kind. */
export interface Workload {
  readonly name: string;
  /** The number of transactions. */
  readonly count: number;
  readonly policies?: Policies;
  /** Returns the log message of a transaction (docs/internals/log-format.md). */
  readonly message: (index: number, logTag: string) => Buffer;
}

/** Returns the workloads whose size follows from the number of records of a run. */
export function workloads(size: number): readonly Workload[] {
  const document = documentMaker();
  const keys = Math.ceil(size / WRITES_PER_KEY);
  const one = (key: number, index: number, tag: string, id?: string): Buffer =>
    encode(tag, index, [put(key)], [document(index)], id);
  const large = Math.ceil(size / 200);
  const updated = { count: size, keys };
  return [
    { name: "rising", count: size, message: (index, tag) => one(index, index, tag) },
    { name: "scattered", count: size, message: (index, tag) => one(scattered(index, size), index, tag) },
    { name: "updates", ...updates(updated) },
    {
      name: "ids",
      count: size,
      message: (index, tag) => one(scattered(index, keys), index, tag, `request-${index}`),
    },
    { name: "fields", policies: { indexes: { [BUCKET]: ["state", "name"] } }, ...updates(updated) },
    {
      name: "deletes",
      count: size,
      message: (index, tag) => {
        const key = scattered(index >> 1, keys);
        if (index % 2 === 0) return one(key, index, tag);
        return encode(tag, index, [`["delete","${BUCKET}","default/${keyName(key)}"]`], []);
      },
    },
    {
      name: "hundreds",
      count: Math.ceil(size / PUTS_PER_TRANSACTION),
      message: (index, tag) => {
        const first = index * PUTS_PER_TRANSACTION;
        const items = Array.from({ length: PUTS_PER_TRANSACTION }, (_, at) => first + at);
        return encode(
          tag,
          index,
          items.map((item) => put(scattered(item, keys))),
          items.map((item) => document(item)),
        );
      },
    },
    {
      name: "large",
      count: large,
      message: (index, tag) => {
        const key = scattered(index, Math.ceil(large / WRITES_PER_KEY));
        return encode(tag, index, [put(key)], [document(index, LARGE_LENGTH)]);
      },
    },
    { name: "expire", policies: { expire: { [BUCKET]: { after: "PT2S" } } }, ...updates(updated) },
    { name: "keep 1", policies: KEEP_ONE, ...updates(updated) },
  ];
}

/** Indexes the state of each document. */
export const INDEX_STATE: Policies = { indexes: { [BUCKET]: ["state"] } };

/** Keeps only the newest superseded version of each document. */
export const KEEP_ONE: Policies = { history: { [BUCKET]: { keep: 1 } } };

/** Returns transactions that each write one of `keys` documents, in scattered order. */
export function updates({
  count,
  keys,
}: {
  readonly count: number;
  readonly keys: number;
}): Pick<Workload, "count" | "message"> {
  const document = documentMaker();
  return {
    count,
    message: (index, tag) => encode(tag, index, [put(scattered(index, keys))], [document(index)]),
  };
}

/** Returns a function that creates documents with a random text of the given length. */
function documentMaker(): (index: number, length?: number) => string {
  const pool = randomBytes(POOL_LENGTH).toString("base64").slice(0, POOL_LENGTH);
  return (index, length = TEXT_LENGTH) => {
    const at = (index * STRIDE) % (POOL_LENGTH - length);
    const text = pool.slice(at, at + length);
    return JSON.stringify({ n: index, state: STATES[index % STATES.length], name: `item ${index}`, text });
  };
}

function put(key: number): string {
  return `["put","${BUCKET}","default/${keyName(key)}"]`;
}

/** Returns the bucket and the key of a workload's document. */
export function itemAddress(key: number): [bucket: string, key: string] {
  return [BUCKET, `default/${keyName(key)}`];
}

function keyName(key: number): string {
  return `k${String(key).padStart(12, "0")}`;
}

function encode(
  logTag: string,
  index: number,
  ops: readonly string[],
  documents: readonly string[],
  id?: string,
): Buffer {
  const random = index.toString(16).padStart(16, "0");
  const idPart = id === undefined ? "" : `,"id":"${id}"`;
  const body = [`{"ops":[${ops.join(",")}]${idPart}}`, ...documents].join("\n");
  const checked = `${logTag} ${random}\n${body}`;
  return Buffer.from(`cairn/1 ${crc32(checked).toString(16).padStart(8, "0")} ${checked}`, "utf8");
}
