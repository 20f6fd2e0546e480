import type { Json } from "@cairn/client";
import type { IndexBatch } from "../../src/own-indexes/own-index.ts";

type Change = IndexBatch["changes"][number];

export const CLEAR: Change = { op: "clear" };

export function put(key: string, value: Json, revision = 1): Change {
  return putText(key, JSON.stringify(value), revision);
}

export function putText(key: string, json: string, revision = 1): Change {
  return { op: "put", ...partsOf(key), revision, txTime: "2026-11-28T10:00:00.000Z", json };
}

export function remove(key: string): Change {
  return { op: "delete", ...partsOf(key) };
}

export function complete(position: string, ...changes: readonly Change[]): IndexBatch {
  return { position, complete: true, changes };
}

export function incomplete(position: string, ...changes: readonly Change[]): IndexBatch {
  return { position, complete: false, changes };
}

function partsOf(key: string): { bucket: string; namespace: string; name: string } {
  const [bucket = "", namespace = "", ...name] = key.split("/");
  return { bucket, namespace, name: name.join("/") };
}
