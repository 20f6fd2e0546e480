import { json, type Operation } from "./operation.ts";
import { LIMIT, READ, WRITE, PAGE, READ_ERRORS, SUBMIT_ERRORS } from "./parameters.ts";
import { array, TEXT, TIME, TX_ID } from "./schema-parts.ts";
import { BUCKET, DURATION, NAMESPACE, ref } from "./schemas.ts";

const EVENT_PLACE = { type: "string", pattern: "^[0-9]{1,19}(-[0-9]{1,16}-[0-9]{1,9})?$" };

/** Transactions, and what is told of them besides documents. */
export const TRANSACTION_OPERATIONS: readonly Operation[] = [
  {
    method: "post",
    path: "/api/v1/tx",
    id: "submitTransaction",
    tag: "transactions",
    summary: "Submit operations that all take effect or none.",
    query: WRITE,
    body: json(ref("Transaction")),
    answers: [
      {
        status: 200,
        description: "Indexed.",
        schema: ref("Outcome"),
        exact: ref("Decided"),
        headers: ["Cairn-Tx"],
      },
      { status: 202, description: "In the log.", schema: ref("Outcome"), exact: ref("Submitted") },
    ],
    errors: [...SUBMIT_ERRORS, "CONFLICT"],
  },
  {
    method: "post",
    path: "/api/v1/tx/batch",
    id: "submitBatch",
    tag: "transactions",
    summary: "Submit transactions as NDJSON (also as `application/x-ndjson`), one a line.",
    query: {
      ...WRITE,
      "first-line": [{ ...TX_ID, minimum: 1 }, "The number of the first line, for errors."],
    },
    // Generated clients write what says "json" as one JSON value.
    body: { "text/plain": TEXT, "application/octet-stream": { ...TEXT, format: "binary" } },
    answers: [
      { status: 200, description: "All are indexed.", schema: ref("BatchResult") },
      { status: 202, description: "All are in the log.", schema: ref("BatchResult") },
    ],
    errors: [...SUBMIT_ERRORS, "CONFLICT"],
  },
  {
    method: "get",
    path: "/api/v1/tx/{id}",
    id: "getTransaction",
    tag: "transactions",
    summary: "What became of a transaction; with `timeout`, wait for it.",
    inPath: { id: ref("TxId") },
    query: READ,
    answers: [{ status: 200, description: "It is indexed.", schema: ref("Outcome"), exact: ref("Decided") }],
    errors: [...READ_ERRORS, "NOT_FOUND"],
  },
  {
    method: "get",
    path: "/api/v1/tx/evictions",
    id: "listEvictions",
    tag: "transactions",
    summary: "What was evicted.",
    query: { ...READ, ...PAGE },
    answers: [
      { status: 200, description: "The evictions.", schema: array(ref("Eviction")), headers: ["Link"] },
    ],
    errors: READ_ERRORS,
  },
  {
    method: "get",
    path: "/api/v1/watch",
    id: "watch",
    tag: "documents",
    summary: "Server-sent events: every transaction that changes what is watched, once and in order.",
    query: {
      bucket: [BUCKET, "Only of this bucket."],
      namespace: [NAMESPACE, "Only of this namespace."],
      from: [ref("TxId"), "The transaction after which to begin; now when left out."],
      "from-time": [TIME, "With `from`: the time that the watcher knows of that transaction."],
      heartbeat: [
        DURATION,
        "After how long without an event a heartbeat comes: from PT0.1S to PT1H, PT10S by default.",
      ],
    },
    requestHeaders: ["Last-Event-ID"],
    answers: [{ status: 200, description: "The stream.", schema: TEXT, mediaType: "text/event-stream" }],
    errors: ["NOT_READY", "INDEX_CORRUPT", "WATCH_COMPACTED"],
  },
  {
    method: "get",
    path: "/api/v1/buckets",
    id: "listBuckets",
    tag: "documents",
    summary: "The buckets and their counts.",
    query: READ,
    answers: [
      { status: 200, description: "The buckets.", schema: array(ref("Bucket")), headers: ["Cairn-Tx"] },
    ],
    errors: READ_ERRORS,
  },
  {
    method: "get",
    path: "/api/v1/events",
    id: "listEvents",
    tag: "events",
    summary: "Recorded events, newest first.",
    query: {
      ...READ,
      limit: [LIMIT, "At most so many, 100 where it is left out."],
      bucket: [TEXT, "Only of this bucket."],
      object: [TEXT, "Only of this object."],
      before: [
        EVENT_PLACE,
        "Only older ones than this event's id, or than a time in nanoseconds since 1970.",
      ],
    },
    answers: [
      {
        status: 200,
        description: "The events.",
        schema: array(ref("RecordedEvent")),
        headers: ["Cairn-Tx", "Link"],
      },
    ],
    errors: READ_ERRORS,
  },
  {
    method: "post",
    path: "/api/v1/events",
    id: "recordEvent",
    tag: "events",
    summary: "Record an event.",
    query: WRITE,
    body: json(ref("EventRecord")),
    answers: [
      {
        status: 201,
        description: "Indexed.",
        schema: ref("EventWritten"),
        exact: ref("Recorded"),
        headers: ["Cairn-Tx"],
      },
      { status: 202, description: "In the log.", schema: ref("EventWritten"), exact: ref("Submitted") },
    ],
    errors: SUBMIT_ERRORS,
  },
  {
    method: "get",
    path: "/api/v1/policies",
    id: "getPolicies",
    tag: "policies",
    summary: "The policies in force.",
    query: READ,
    answers: [
      {
        status: 200,
        description: "The policies.",
        schema: ref("PolicyState"),
        headers: ["Cairn-Tx", "ETag"],
      },
    ],
    errors: READ_ERRORS,
  },
  {
    method: "put",
    path: "/api/v1/policies",
    id: "putPolicies",
    tag: "policies",
    summary: "Set the policies.",
    query: WRITE,
    requestHeaders: ["If-Match", "If-None-Match"],
    body: json(ref("Policies")),
    answers: [
      { status: 200, description: "Indexed.", schema: ref("Submitted"), headers: ["Cairn-Tx", "ETag"] },
      { status: 202, description: "In the log.", schema: ref("Submitted") },
    ],
    errors: [...SUBMIT_ERRORS, ["CONFLICT", 412]],
  },
];
