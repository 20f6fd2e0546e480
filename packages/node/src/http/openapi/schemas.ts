import { ERROR_CODES } from "@cairn/kv";
import { BUCKET_PATTERN, MAX_BUCKET, MAX_NAMESPACE } from "../../text/document-key.ts";
import { EVENT_FIELDS } from "../../transactions/event-record.ts";
import { MAX_ID_BYTES } from "../../transactions/validate-transaction.ts";
import { DURATION_PATTERN, POLICY_DURATION_PATTERN } from "../requests/text-patterns.ts";
import {
  BYTES,
  closed,
  COUNT,
  FLAG,
  mapOf,
  nullable,
  object,
  type OpenApiObject,
  text,
  TEXT,
  TIME,
  TX_ID,
} from "./schema-parts.ts";
import { NOT_READY_DETAILS, STATUS } from "./status-schema.ts";

/** The schema of that name. */
export function ref(name: keyof typeof SCHEMAS | keyof typeof EXACT_SCHEMAS): OpenApiObject {
  return { $ref: `#/components/schemas/${name}` };
}

function described(schema: OpenApiObject, description: string): OpenApiObject {
  return { ...schema, description };
}

const OPEN = { type: "object", additionalProperties: true };

/** A bucket's name, apart from those that are reserved. */
export const BUCKET = { type: "string", pattern: BUCKET_PATTERN, maxLength: MAX_BUCKET };
/** A namespace; its length is in bytes of UTF-8. */
export const NAMESPACE = { ...text(MAX_NAMESPACE, 1), pattern: "^[^/]+$" };
/** A duration of a parameter. */
export const DURATION = { type: "string", pattern: DURATION_PATTERN, example: "PT5S" };
/** When an event happened, in nanoseconds since 1970; nodes take some months of 2262 more. */
const EVENT_TIME = {
  type: "string",
  pattern: "^(0|[1-9][0-9]{0,17}|[1-8][0-9]{18}|9[01][0-9]{17})$",
  example: "1795155146123000000",
};

/** An event as it is sent and as it is listed; lengths are in bytes of UTF-8. */
const EVENT = Object.fromEntries(
  Array.from(EVENT_FIELDS, ([name, { maxBytes, required }]) => [
    name,
    name === "time" ? EVENT_TIME : text(maxBytes, required === true ? 1 : 0),
  ]),
);

const MOST_KEPT = 1_000_000_000;
const HUNDRED_YEARS_MS = 100 * 366 * 86_400_000;
const policyRef = (name: string): OpenApiObject => ({ $ref: `#/components/schemas/${name}` });
const bound = (least: number): OpenApiObject =>
  described(
    {
      ...closed(
        object(
          {
            keep: { type: "integer", minimum: least, maximum: MOST_KEPT },
            for: policyRef("PolicyDuration"),
          },
          [],
        ),
      ),
      minProperties: 1,
    },
    "At most so many, and none older than that; at least one of both.",
  );
const FIELDS = { type: "array", items: text(256, 1), minItems: 1, maxItems: 16, uniqueItems: true };
const POLICY_SCHEMAS = {
  PolicyDuration: {
    description: "ISO-8601 without years and months, such as P30D, or milliseconds.",
    // Whatever it is, it is not null: of any value generated Python makes one where there is none.
    anyOf: [
      { type: "string", pattern: POLICY_DURATION_PATTERN },
      { type: "number", format: "double", minimum: 1, maximum: HUNDRED_YEARS_MS },
    ],
  },
  HistoryBound: bound(0),
  EventsBound: bound(1),
  ExpireRule: closed(object({ when: mapOf({}), after: policyRef("PolicyDuration") }, ["after"])),
  Policies: closed(
    object(
      {
        indexes: mapOf(FIELDS),
        expire: mapOf(policyRef("ExpireRule")),
        history: mapOf(policyRef("HistoryBound")),
        events: policyRef("EventsBound"),
      },
      [],
    ),
  ),
};

const OUTCOME = { txId: TX_ID, txTime: TIME, committed: FLAG, reason: TEXT, duplicateOf: TX_ID };
const WRITTEN = {
  txId: TX_ID,
  existed: described(nullable(FLAG), "Null where a history policy has removed the answer since."),
};
const EVENT_WRITTEN = { id: TEXT, txId: TX_ID, time: TEXT };
const CHECKPOINT = {
  name: TEXT,
  txId: TX_ID,
  takenAt: TIME,
  bytes: BYTES,
  node: TEXT,
  logId: TEXT,
  documents: COUNT,
};
const SKIPPED = {
  skipped: described(TEXT, "Why none was saved: `unchanged`, `leased`, …"),
  because: described(TEXT, "The same as a sentence."),
  lease: nullable(
    object({ owner: TEXT, bytes: BYTES, since: nullable(TIME), expiresAt: TIME, leftBehind: FLAG }),
  ),
};
const BEGUN = { begun: described(FLAG, "202: its progress is in /status.") };

const ERROR_CODE = { type: "string", enum: ERROR_CODES };
/** What stands beside some errors. */
const ERROR_DETAILS = {
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
};

/** What bodies are made of. */
export const SCHEMAS = {
  Error: object(
    {
      error: object({
        code: ERROR_CODE,
        message: TEXT,
        hint: nullable(TEXT),
      }),
      ...ERROR_DETAILS,
    },
    ["error"],
  ),
  Problem: object(
    {
      type: described(TEXT, "`about:blank`: `code` says more than the status."),
      title: described(TEXT, "The status in words."),
      status: { type: "integer" },
      detail: described(TEXT, "What happened, in a sentence."),
      instance: described(TEXT, "The request's path, then # and its X-Request-Id."),
      code: ERROR_CODE,
      hint: nullable(TEXT),
      ...ERROR_DETAILS,
    },
    ["type", "title", "status", "detail", "instance", "code", "hint"],
  ),
  TxId: TX_ID,
  Json: {
    description: "Any JSON value, also null, whose integers are safe (at most 2^53 - 1).",
    nullable: true,
  },
  Operation: {
    type: "array",
    description:
      '["put", bucket, key, document], ["delete", bucket, key], ["match", bucket, key, revision or null], ["evict", bucket, key], ["event", event], ["configure", policies].',
    items: {},
    minItems: 2,
    maxItems: 4,
  },
  Transaction: closed(
    object(
      {
        ops: { type: "array", items: { $ref: "#/components/schemas/Operation" }, minItems: 1 },
        id: described(text(MAX_ID_BYTES, 1), "Your own: however often it is sent, it is applied once."),
      },
      ["ops"],
    ),
  ),
  Submitted: object({ txId: TX_ID }),
  Outcome: described(object(OUTCOME, ["txId"]), "Only `txId` in a 202: the log has it, no more is known."),
  BatchResult: object({
    accepted: COUNT,
    firstTxId: nullable(TX_ID),
    lastTxId: nullable(TX_ID),
  }),
  Written: described(object(WRITTEN, ["txId"]), "Only `txId` in a 202."),
  Document: object({ namespace: TEXT, name: TEXT, revision: TX_ID, document: {} }),
  Version: object({ revision: TX_ID, txTime: TIME, deleted: FLAG, document: {} }, [
    "revision",
    "txTime",
    "deleted",
  ]),
  Digest: object({ txId: TX_ID, digest: { type: "string", pattern: "^sha256:[0-9a-f]{64}$" } }),
  Checkpoint: object(CHECKPOINT),
  SavedCheckpoint: described(
    object({ ...BEGUN, ...SKIPPED, ...CHECKPOINT }, []),
    "The checkpoint, or why there is none (`skipped`), or that it has begun (202).",
  ),
  Verified: object({ name: TEXT, txId: TX_ID, verifiedAt: TIME, node: TEXT, digest: TEXT }),
  EventRecord: closed(object(EVENT, ["object", "reason"])),
  RecordedEvent: object({ id: TEXT, txId: TX_ID, ...EVENT }, ["id", "txId", "object", "reason", "time"]),
  EventWritten: described(object(EVENT_WRITTEN, ["txId"]), "Only `txId` in a 202."),
  ...POLICY_SCHEMAS,
  PolicyState: object({
    revision: nullable(TX_ID),
    policies: policyRef("Policies"),
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
    files: object({
      goneSince: nullable(TIME),
      waitsFor: nullable({ type: "string", enum: ["compaction", "reads", "restart", "unknown"] }),
    }),
    log: nullable(object({ firstTxId: TX_ID, lastTxId: TX_ID })),
    checkpoints: nullable({ type: "array", items: TEXT }),
    inFilesOf: nullable({ type: "array", items: TEXT }),
    firstWithout: nullable(TEXT),
  }),
  Ready: object({ ready: FLAG, phase: TEXT }),
  Live: object({ live: FLAG, phase: TEXT }),
  Status: STATUS,
} as const satisfies Readonly<Record<string, OpenApiObject>>;

/** What exactly some answers have, whose operations have others, too. */
export const EXACT_SCHEMAS = {
  Decided: object(OUTCOME, ["txId", "txTime", "committed"]),
  Indexed: object(WRITTEN),
  Recorded: object(EVENT_WRITTEN),
  Saved: { oneOf: [object(CHECKPOINT), object(SKIPPED, ["skipped"])] },
  Begun: object(BEGUN),
} as const satisfies Readonly<Record<string, OpenApiObject>>;
