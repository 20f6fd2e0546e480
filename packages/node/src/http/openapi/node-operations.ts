import type { Operation } from "./operation.ts";
import { READ, READ_ERRORS } from "./parameters.ts";
import { array, FLAG, nullable, object, TEXT } from "./schema-parts.ts";
import { ref } from "./schemas.ts";

/** The node itself and its checkpoints. */
export const NODE_OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: "/health/live",
    id: "getLive",
    tag: "node",
    summary: "Whether the process is alive.",
    open: true,
    answers: [{ status: 200, description: "It is.", schema: ref("Live") }],
  },
  {
    method: "get",
    path: "/health/ready",
    id: "getReady",
    tag: "node",
    summary: "Whether the index is restored and caught up.",
    open: true,
    answers: [{ status: 200, description: "It is.", schema: ref("Ready") }],
    errors: ["NOT_READY"],
  },
  {
    method: "get",
    path: "/status",
    id: "getStatus",
    tag: "node",
    summary: "How the node is, in every phase.",
    answers: [{ status: 200, description: "Its status.", schema: ref("Status") }],
  },
  {
    method: "get",
    path: "/metrics",
    id: "getMetrics",
    tag: "node",
    summary: "Prometheus' text format.",
    answers: [{ status: 200, description: "The metrics.", schema: TEXT, mediaType: "text/plain" }],
  },
  {
    method: "get",
    path: "/openapi.json",
    id: "getOpenApi",
    tag: "node",
    summary: "This document.",
    answers: [{ status: 200, description: "OpenAPI 3.0.", schema: { type: "object" } }],
  },
  {
    method: "get",
    path: "/api/v1/digest",
    id: "getDigest",
    tag: "node",
    summary: "SHA-256 over the logical content.",
    query: READ,
    answers: [{ status: 200, description: "The digest.", schema: ref("Digest"), headers: ["Cairn-Tx"] }],
    errors: READ_ERRORS,
  },
  {
    method: "get",
    path: "/api/v1/checkpoints",
    id: "listCheckpoints",
    tag: "checkpoints",
    summary: "The store's checkpoints, newest first.",
    query: READ,
    answers: [{ status: 200, description: "The checkpoints.", schema: array(ref("Checkpoint")) }],
    errors: [...READ_ERRORS, "NOT_FOUND", "STORE_UNREACHABLE", "STORE_DENIED"],
  },
  {
    method: "post",
    path: "/api/v1/checkpoints",
    id: "saveCheckpoint",
    tag: "checkpoints",
    summary: "Save a checkpoint now.",
    query: { await: [FLAG, "Whether to answer when it is saved."] },
    answers: [
      {
        status: 200,
        description: "The checkpoint, or why there is none.",
        schema: {
          oneOf: [
            ref("Checkpoint"),
            object({ skipped: TEXT, because: TEXT, lease: nullable({ type: "object" }) }, ["skipped"]),
          ],
        },
      },
      {
        status: 202,
        description: "It has begun.",
        schema: object({ begun: FLAG }),
      },
    ],
    errors: [
      "CHECKPOINT_RUNNING",
      "NOT_FOUND",
      "NOT_READY",
      "STORE_UNREACHABLE",
      "STORE_DENIED",
      "STORE_FULL",
      "DISK_FULL",
    ],
  },
  {
    method: "post",
    path: "/api/v1/checkpoints/{name}/verify",
    id: "verifyCheckpoint",
    tag: "checkpoints",
    summary: "Read a checkpoint (`newest`: the log's newest) back and mark it.",
    answers: [{ status: 200, description: "It is whole.", schema: ref("Verified") }],
    errors: [
      "CHECKPOINT_NOT_FOUND",
      "CHECKPOINT_CORRUPT",
      "CHECKPOINT_INCOMPLETE",
      "INDEX_VERSION",
      "NOT_FOUND",
      "NOT_READY",
      "STORE_UNREACHABLE",
      "STORE_DENIED",
      "DISK_FULL",
    ],
  },
];
