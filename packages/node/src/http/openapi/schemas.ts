import { ERROR_CODES } from "@cairn/kv";
import type { OpenApiObject } from "./operation.ts";
import { BYTES, COUNT, FLAG, mapOf, nullable, object, TEXT, TIME, TX_ID } from "./schema-parts.ts";
import { NOT_READY_DETAILS, STATUS } from "./status-schema.ts";

/** The schema of that name. */
export function ref(name: keyof typeof SCHEMAS): OpenApiObject {
  return { $ref: `#/components/schemas/${name}` };
}

function described(schema: OpenApiObject, description: string): OpenApiObject {
  return { ...schema, description };
}

const OPEN = { type: "object", additionalProperties: true };

/** An event as it is sent and as it is listed; times are nanoseconds since 1970. */
const EVENT = {
  object: TEXT,
  reason: TEXT,
  message: TEXT,
  bucket: TEXT,
  time: TEXT,
  type: TEXT,
  source: TEXT,
};
const BOUND = object({ keep: COUNT, for: {} }, []);
const POLICIES = object(
  {
    indexes: mapOf({ type: "array", items: TEXT }),
    expire: mapOf(object({ when: mapOf({}), after: {} }, ["after"])),
    history: mapOf(BOUND),
    events: BOUND,
  },
  [],
);

/** A duration of a parameter. */
export const DURATION = { type: "string", example: "PT5S" };

/** What bodies are made of. */
export const SCHEMAS = {
  Error: object(
    {
      error: object({
        code: { type: "string", enum: ERROR_CODES },
        message: TEXT,
        hint: nullable(TEXT),
      }),
      limit: described(COUNT, "413: how many bytes are taken."),
      txId: described(TX_ID, "A write that was not waited for to the end: its transaction, which is stored."),
      floor: described(TX_ID, "410 of a watch: the earliest transaction after which one can begin."),
      reason: described(TEXT, "410 of a watch: `compacted` or `regressed`."),
      line: described(COUNT, "A batch: the line that failed, from 1."),
      accepted: described(COUNT, "A batch: how many transactions before that line are stored."),
      acceptedAfter: described(COUNT, "A batch: how many after it are."),
      firstTxId: nullable(TX_ID),
      lastTxId: nullable(TX_ID),
      problems: described({ type: "array", items: OPEN }, "Policies: each mistake with its path."),
      ...NOT_READY_DETAILS,
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
  Outcome: object({ txId: TX_ID, txTime: TIME, committed: FLAG, reason: TEXT, duplicateOf: TX_ID }, [
    "txId",
    "txTime",
    "committed",
  ]),
  BatchResult: object({
    accepted: COUNT,
    firstTxId: nullable(TX_ID),
    lastTxId: nullable(TX_ID),
  }),
  Written: object({
    txId: TX_ID,
    existed: described(nullable(FLAG), "Null where a history policy has removed the answer already."),
  }),
  Document: object({ namespace: TEXT, name: TEXT, revision: TX_ID, document: {} }),
  Version: object({ revision: TX_ID, txTime: TIME, deleted: FLAG, document: {} }, [
    "revision",
    "txTime",
    "deleted",
  ]),
  Digest: object({ txId: TX_ID, digest: { type: "string", pattern: "^sha256:[0-9a-f]{64}$" } }),
  Checkpoint: object({
    name: TEXT,
    txId: TX_ID,
    takenAt: TIME,
    bytes: BYTES,
    node: TEXT,
    logId: TEXT,
    documents: COUNT,
  }),
  Verified: object({ name: TEXT, txId: TX_ID, verifiedAt: TIME, node: TEXT, digest: TEXT }),
  EventRecord: object(EVENT, ["object", "reason"]),
  RecordedEvent: object({ id: TEXT, txId: TX_ID, ...EVENT }, ["id", "txId", "object", "reason", "time"]),
  EventWritten: object({ id: TEXT, txId: TX_ID, time: TEXT }),
  Policies: POLICIES,
  PolicyState: object({
    revision: nullable(TX_ID),
    policies: POLICIES,
    file: nullable({ type: "string", enum: ["same", "different"] }),
  }),
  Bucket: object({
    name: TEXT,
    documents: COUNT,
    fields: mapOf(object({ counts: nullable(mapOf(COUNT)), more: FLAG })),
  }),
  Eviction: object({
    txId: TX_ID,
    txTime: TIME,
    bucket: TEXT,
    namespace: TEXT,
    name: TEXT,
    log: nullable(object({ firstTxId: TX_ID, lastTxId: TX_ID })),
    checkpoints: nullable({ type: "array", items: TEXT }),
  }),
  Ready: object({ ready: FLAG, phase: TEXT }),
  Live: object({ live: FLAG, phase: TEXT }),
  Status: STATUS,
} as const satisfies Readonly<Record<string, OpenApiObject>>;
