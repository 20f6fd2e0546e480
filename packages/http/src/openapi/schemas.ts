import { LIMITS } from "@cairn/client/protocol";
import { ERROR_CODES } from "@cairn/kv";
import { z } from "zod";
import { ClusterStatusSchema, StatusSchema, EVENT_FIELDS } from "@cairn/engine";
import { MAX_NAME } from "@cairn/text";
import { ISO_DURATION_PATTERN } from "../requests/parameters.ts";
import {
  array,
  boundedText,
  closedObject,
  COUNT,
  described,
  dictionary,
  FLAG,
  MILLISECONDS,
  nullable,
  object,
  oneOf,
  type OpenApiObject,
  ref,
  TEXT,
  TIME,
  POSITION,
  TX_ID,
} from "../requests/schema-parts.ts";

/** Returns the schema of a response that nodes also exchange. Its bounds are those of their messages. */
function schemaOf(type: z.ZodType): OpenApiObject {
  return z.toJSONSchema(type, {
    target: "openapi-3.0",
    override: ({ jsonSchema: schema }) => {
      for (const key of ["default", "additionalProperties"] as const) delete schema[key];
      if (schema.type === "integer") schema.format = "int64";
      if (schema.type === "number") schema.format = "double";
    },
  });
}

/** In nanoseconds since 1970. The schema ends with 2261, but nodes also accept some months of 2262. */
const EVENT_TIME = {
  ...TEXT,
  pattern: "^(0|[1-9][0-9]{0,17}|[1-8][0-9]{18}|9[01][0-9]{17})$",
  example: "1795155146123000000",
};

const EVENT = Object.fromEntries(
  Array.from(EVENT_FIELDS, ([name, { maxBytes, required }]) => [
    name,
    name === "time" ? EVENT_TIME : boundedText(maxBytes, required === true ? 1 : 0),
  ]),
);

const HUNDRED_YEARS_MS = 100 * 366 * 86_400_000;
function bound(minimum: number): OpenApiObject {
  const keep = { type: "integer", minimum, maximum: LIMITS.keep };
  return {
    ...closedObject({ keep, for: ref("PolicyDuration") }, []),
    minProperties: 1,
    description: "The maximum number of items to keep, their maximum age, or both.",
  };
}
const FIELDS = {
  ...array(boundedText(LIMITS.fieldBytes, 1)),
  minItems: 1,
  maxItems: LIMITS.fields,
  uniqueItems: true,
};
const POLICIES = {
  indexes: dictionary(FIELDS),
  expire: dictionary(ref("ExpireRule")),
  history: dictionary(ref("HistoryBound")),
  events: ref("EventsBound"),
  outcomes: ref("OutcomesBound"),
  queues: dictionary(ref("Queue")),
};
const POLICY_SCHEMAS = {
  PolicyDuration: {
    description: "An ISO 8601 duration without years and months, such as P30D, or a number of milliseconds.",
    // Not a schema for any value: a generated Python client would send null instead of omitting the value.
    anyOf: [
      { ...TEXT, pattern: ISO_DURATION_PATTERN },
      { type: "number", format: "double", minimum: 1, maximum: HUNDRED_YEARS_MS },
    ],
  },
  HistoryBound: bound(0),
  EventsBound: bound(1),
  OutcomesBound: bound(LIMITS.leastOutcomes),
  ExpireRule: closedObject({ when: dictionary({}), after: ref("PolicyDuration") }, ["after"]),
  Queue: closedObject(
    {
      shards: { type: "integer", minimum: 1, maximum: LIMITS.shards },
      cap: { type: "integer", minimum: 1, maximum: LIMITS.keep },
      terminal: dictionary({}),
      lease: ref("PolicyDuration"),
      retry: closedObject(
        {
          first: ref("PolicyDuration"),
          max: ref("PolicyDuration"),
          limit: { type: "integer", minimum: 1, maximum: LIMITS.keep },
          dead: dictionary({}),
        },
        [],
      ),
    },
    ["shards", "cap", "terminal", "lease"],
  ),
  Policies: closedObject(POLICIES, []),
};

const QUEUE_ENTRY = { shard: COUNT, name: TEXT, revision: TX_ID, createdTx: TX_ID, document: {} };
const CHECKPOINT = {
  name: TEXT,
  txId: TX_ID,
  takenAt: TIME,
  bytes: COUNT,
  node: TEXT,
  logId: TEXT,
  documents: COUNT,
};
const LISTED = {
  durationMs: described(MILLISECONDS, "How long the save took."),
  verifiedAt: nullable(TIME),
  verifiedBy: nullable(TEXT),
  kept: described(
    nullable(object({ keep: FLAG, because: TEXT })),
    "Whether the next sweep by this node's retention policy keeps it; null if it belongs to another log.",
  ),
};
const ABORTED = {
  aborted: described(COUNT, "The number of accepted transactions of a batch that were aborted."),
  abortedLines: described(
    array(object({ line: COUNT, txId: TX_ID, reason: TEXT })),
    "Their lines, in order; at most 10,000 of them.",
  ),
};

export const SCHEMAS = {
  Error: object(
    {
      error: object({ code: oneOf(...ERROR_CODES), message: TEXT, hint: nullable(TEXT) }),
      // The additional fields next to some errors.
      limit: described(COUNT, "For status 413: the maximum number of bytes that are accepted."),
      txId: described(TX_ID, "The stored transaction of a write whose outcome was not awaited."),
      floor: described(POSITION, "For status 410 of a watch: the earliest position at which it can begin."),
      reason: described(TEXT, "For status 410 of a watch: `compacted` or `regressed`."),
      line: described(COUNT, "For a batch: the number of the line that failed, counted from 1."),
      accepted: described(COUNT, "For a batch: the number of stored transactions before that line."),
      acceptedAfter: described(COUNT, "For a batch: the number of stored transactions after that line."),
      firstTxId: nullable(TX_ID),
      lastTxId: nullable(TX_ID),
      ...ABORTED,
      problems: described(
        array({ type: "object", additionalProperties: true }),
        "For policies: each mistake with its path.",
      ),
      // The fields next to the error of a node that is not ready.
      ready: FLAG,
      phase: schemaOf(StatusSchema.shape.phase),
      progress: schemaOf(StatusSchema.shape.progress),
      failure: schemaOf(StatusSchema.shape.failure),
    },
    ["error"],
  ),
  TxId: TX_ID,
  Json: {
    description: "Any JSON value, including null. Integers must be safe (at most 2^53 - 1).",
    nullable: true,
  },
  Operation: {
    ...array({}),
    description:
      '["put", bucket, key, document], ["delete", bucket, key], ["match", bucket, key, revision or null], ["evict", bucket, key], ["event", event], ["configure", policies]. On queues: ["enqueue", queue, name, document], ["claim" or "drain", queue, shard, {"as": name}], ["renew", "release" or "retire", queue, shard, hold], ["move", queue, "shard/name", shard, hold], where a hold is {"epoch": epoch, "as": name}, {"epoch": epoch}, or an epoch alone; put and delete of an entry have {"epoch": epoch, "as": name} or {"epoch": epoch} as their last part.',
    minItems: 2,
    maxItems: 5,
  },
  Transaction: closedObject(
    {
      ops: { ...array(ref("Operation")), minItems: 1 },
      id: described(
        boundedText(LIMITS.idBytes, 1),
        "An id that the client chooses. However often a transaction with this id is sent, it is applied only once.",
      ),
    },
    ["ops"],
  ),
  Submitted: object({ txId: TX_ID }),
  Outcome: object(
    {
      txId: TX_ID,
      txTime: TIME,
      position: described(POSITION, "The position after the transaction, from which a watch can begin."),
      committed: FLAG,
      reason: TEXT,
      duplicateOf: TX_ID,
      shards: described(array(COUNT), "The shards of the entries that the transaction enqueued, in order."),
      by: described(
        nullable(TEXT),
        "With `by=true`: the name of the token with which the transaction was submitted; null if it has no name, absent if the log no longer contains the transaction.",
      ),
    },
    ["txId"],
    "A 202 response contains only `txId`: the transaction is in the log, but its outcome is not known yet.",
  ),
  BatchResult: object(
    {
      accepted: COUNT,
      firstTxId: nullable(TX_ID),
      lastTxId: nullable(TX_ID),
      ...ABORTED,
    },
    ["accepted", "firstTxId", "lastTxId"],
    "A 202 response does not contain `aborted` and `abortedLines`: the outcomes are not known yet.",
  ),
  Written: object(
    {
      txId: TX_ID,
      existed: described(
        nullable(FLAG),
        "Whether the document existed before; null if a history policy has already removed this information.",
      ),
    },
    ["txId"],
    "A 202 response contains only `txId`.",
  ),
  Document: object({ namespace: TEXT, name: TEXT, revision: TX_ID, document: {} }),
  Version: object({ revision: TX_ID, txTime: TIME, deleted: FLAG, document: {} }, [
    "revision",
    "txTime",
    "deleted",
  ]),
  IndexQuery: closedObject(
    {
      sql: described(TEXT, "The query: for an index in SQLite, a statement that reads."),
      args: described(
        {},
        "The values of the query's parameters: an array in their order, or an object by their names.",
      ),
      limit: described(
        { type: "integer", minimum: 1, maximum: LIMITS.queryRows },
        `The maximum number of rows; ${LIMITS.queryRows} by default.`,
      ),
    },
    ["sql"],
  ),
  QueryResult: object({
    txId: TX_ID,
    columns: array(TEXT),
    rows: array(array({})),
    more: described(FLAG, "Whether there are more rows than the limit."),
  }),
  Digest: object({ txId: TX_ID, digest: { ...TEXT, pattern: "^sha256:[0-9a-f]{64}$" } }),
  Checkpoint: object(
    { ...CHECKPOINT, ...LISTED, damaged: described(FLAG, "True if it was read back and found damaged.") },
    [...Object.keys(CHECKPOINT), ...Object.keys(LISTED)],
  ),
  SavedCheckpoint: object(
    {
      begun: described(FLAG, "True in a 202 response. GET /status shows the progress."),
      skipped: described(TEXT, "The reason why none was saved: `unchanged`, `leased`, …"),
      because: described(TEXT, "The reason as a sentence."),
      lease: nullable(object({ owner: TEXT, bytes: COUNT, since: nullable(TIME), expiresAt: TIME })),
      ...CHECKPOINT,
    },
    [],
    "The checkpoint, the reason why none was saved (`skipped`), or, in a 202 response, the note that the save has begun.",
  ),
  Verified: object({ name: TEXT, txId: TX_ID, verifiedAt: TIME, node: TEXT, digest: TEXT }),
  EventRecord: closedObject(EVENT, ["object", "reason"]),
  RecordedEvent: object({ id: TEXT, txId: TX_ID, ...EVENT }, ["id", "txId", "object", "reason", "time"]),
  EventWritten: object(
    { id: TEXT, txId: TX_ID, time: TEXT },
    ["txId"],
    "A 202 response contains only `txId`.",
  ),
  ...POLICY_SCHEMAS,
  PolicyState: object({
    revision: nullable(TX_ID),
    policies: ref("Policies"),
    file: nullable(oneOf("same", "different")),
  }),
  Bucket: object({
    name: TEXT,
    documents: COUNT,
    fields: dictionary(object({ counts: nullable(dictionary(COUNT)), more: FLAG })),
  }),
  Eviction: object({
    txId: TX_ID,
    txTime: TIME,
    bucket: TEXT,
    namespace: TEXT,
    name: TEXT,
    files: object({
      goneSince: nullable(TIME),
      waitsFor: nullable(oneOf("compaction", "reads", "restart", "own-index", "unknown")),
    }),
    log: nullable(object({ firstTxId: TX_ID, lastTxId: TX_ID })),
    checkpoints: nullable(array(TEXT)),
    inFilesOf: nullable(array(TEXT)),
    firstWithout: nullable(TEXT),
    segments: nullable(array(TEXT)),
    segmentsUntil: nullable(TIME),
    hint: nullable(TEXT),
  }),
  QueueStatus: object({
    name: TEXT,
    policy: ref("Queue"),
    entries: COUNT,
    open: COUNT,
    spare: COUNT,
    shards: array(
      object({
        shard: COUNT,
        state: oneOf("active", "draining", "retiring"),
        entries: COUNT,
        open: COUNT,
        epoch: nullable(TX_ID),
        holder: nullable(object({ as: TEXT, until: TIME })),
      }),
    ),
  }),
  OpenEntry: object(QUEUE_ENTRY),
  QueueEntry: object({
    ...QUEUE_ENTRY,
    open: FLAG,
    moved: nullable(object({ from: COUNT, txId: TX_ID })),
  }),
  NewEntry: closedObject({ name: boundedText(MAX_NAME, 1), document: ref("Json") }, ["document"]),
  Enqueued: object(
    { txId: TX_ID, txTime: TIME, name: TEXT, shard: COUNT },
    ["txId", "name"],
    "A 202 response contains only `txId` and `name`.",
  ),
  ShardClaim: described(closedObject({ as: boundedText(LIMITS.asBytes, 1) }), "Who claims the shard."),
  ShardHold: described(
    closedObject({ epoch: { ...TX_ID, minimum: 1 }, as: boundedText(LIMITS.asBytes, 1) }, ["epoch"]),
    "The epoch that the claim returned, with `as` if the name of the holder is to be compared as well.",
  ),
  ShardChanged: object(
    { txId: TX_ID, txTime: TIME, epoch: TX_ID },
    ["txId"],
    "A 202 response contains only `txId`.",
  ),
  Ready: object({ ready: FLAG, phase: TEXT }),
  Live: object({ live: FLAG, phase: TEXT }),
  Status: schemaOf(StatusSchema),
  ClusterStatus: schemaOf(ClusterStatusSchema),
} as const satisfies Readonly<Record<string, OpenApiObject>>;
