import type { Json } from "@cairn/client";
import type { IndexBatch } from "../src/own-indexes/own-index.ts";

export type BatchChange = IndexBatch["changes"][number];

export const CLEAR: BatchChange = { op: "clear" };

/** `key` is `bucket/namespace/name`. */
export function put(key: string, document: Json, revision = 1): BatchChange {
  return putText(key, JSON.stringify(document), revision);
}

export function putText(key: string, json: string, revision = 1): BatchChange {
  return { op: "put", ...partsOf(key), revision, txTime: "2026-11-28T10:00:00.000Z", json };
}

export function remove(key: string): BatchChange {
  return { op: "delete", ...partsOf(key) };
}

export function complete(position: string, ...changes: readonly BatchChange[]): IndexBatch {
  return { position, complete: true, changes };
}

export function incomplete(position: string, ...changes: readonly BatchChange[]): IndexBatch {
  return { position, complete: false, changes };
}

function partsOf(key: string): { bucket: string; namespace: string; name: string } {
  const [bucket = "", namespace = "", ...name] = key.split("/");
  return { bucket, namespace, name: name.join("/") };
}
