import { ERROR_CODES } from "@cairn/kv";
import type { OpenApiObject } from "./operation.ts";

const TX_ID = { type: "integer", format: "int64", minimum: 0 };
const TIME = { type: "string", format: "date-time" };
const TEXT = { type: "string" };
const OPEN = { type: "object", additionalProperties: true };

function object(
  properties: OpenApiObject,
  required: readonly string[] = Object.keys(properties),
): OpenApiObject {
  return { type: "object", properties, required };
}

/** The schema of that name. */
export function ref(name: keyof typeof SCHEMAS): OpenApiObject {
  return { $ref: `#/components/schemas/${name}` };
}

/** An array of it. */
export function listOf(items: OpenApiObject): OpenApiObject {
  return { type: "array", items };
}

/** A duration of a parameter. */
export const DURATION = { type: "string", example: "PT5S" };

/** What bodies are made of. */
export const SCHEMAS = {
  Error: object(
    {
      error: object({
        code: { type: "string", enum: ERROR_CODES },
        message: TEXT,
        hint: { type: "string", nullable: true },
      }),
    },
    ["error"],
  ),
  TxId: TX_ID,
  Json: { description: "Any JSON value whose integers are safe (at most 2^53 - 1)." },
  Operation: {
    type: "array",
    description:
      '["put", bucket, key, document], ["delete", bucket, key], ["match", bucket, key, revision or null], ["evict", bucket, key], ["event", event], ["configure", policies].',
    items: {},
    minItems: 2,
    maxItems: 4,
  },
  Transaction: object(
    { ops: { type: "array", items: { $ref: "#/components/schemas/Operation" } }, id: TEXT },
    ["ops"],
  ),
  Submitted: object({ txId: TX_ID }),
  Outcome: object(
    { txId: TX_ID, txTime: TIME, committed: { type: "boolean" }, reason: TEXT, duplicateOf: TX_ID },
    ["txId", "txTime", "committed"],
  ),
  BatchResult: object({
    accepted: { type: "integer" },
    firstTxId: { ...TX_ID, nullable: true },
    lastTxId: { ...TX_ID, nullable: true },
  }),
  Written: object({ txId: TX_ID, existed: { type: "boolean" } }, ["txId"]),
  Document: object({ namespace: TEXT, name: TEXT, revision: TX_ID, document: {} }),
  Version: object({ revision: TX_ID, txTime: TIME, deleted: { type: "boolean" }, document: {} }, [
    "revision",
    "txTime",
    "deleted",
  ]),
  Digest: object({ txId: TX_ID, digest: { type: "string", pattern: "^sha256:[0-9a-f]{64}$" } }),
  Checkpoint: object({
    name: TEXT,
    txId: TX_ID,
    takenAt: TIME,
    bytes: { type: "integer", format: "int64" },
    node: TEXT,
    logId: TEXT,
    documents: { type: "integer" },
  }),
  Verified: object({ name: TEXT, txId: TX_ID, verifiedAt: TIME, node: TEXT, digest: TEXT }),
  EventRecord: object(
    { object: TEXT, reason: TEXT, message: TEXT, bucket: TEXT, time: TEXT, type: TEXT, source: TEXT },
    ["object", "reason"],
  ),
  RecordedEvent: object({ id: TEXT, object: TEXT, reason: TEXT, time: TEXT }, ["object", "reason", "time"]),
  Policies: OPEN,
  Bucket: OPEN,
  Eviction: OPEN,
  Ready: object({ ready: { type: "boolean" }, phase: TEXT }),
  Live: object({ live: { type: "boolean" }, phase: TEXT }),
  Status: object(
    { node: TEXT, version: TEXT, phase: TEXT, log: OPEN, index: OPEN, join: OPEN, checkpoints: OPEN },
    ["node", "version", "phase", "log", "index", "join", "checkpoints"],
  ),
} as const satisfies Readonly<Record<string, OpenApiObject>>;
