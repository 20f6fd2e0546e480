import {
  DOCUMENT_PATH,
  ENTRY_PARAMETERS,
  PAGE_PARAMETERS,
  READ_PARAMETERS,
  WRITE_PARAMETERS,
} from "../requests/parameters.ts";
import { MAX_SHARDS } from "../../policies/policy-problems.ts";
import { array, ref } from "../requests/schema-parts.ts";
import { found, json, type Operation, READ_ERRORS, SUBMIT_ERRORS, written } from "./operation.ts";

/** A queue is a bucket. */
const IN_QUEUE = { queue: DOCUMENT_PATH.bucket };
const IN_SHARD = { ...IN_QUEUE, shard: { type: "integer", minimum: 0, maximum: MAX_SHARDS - 1 } };

export const QUEUE_OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: "/api/v1/queues",
    id: "listQueues",
    tag: "queues",
    summary: "List the queues with their shards.",
    query: READ_PARAMETERS,
    answers: found("The queues.", array(ref("QueueStatus")), ["Cairn-Tx"]),
    errors: READ_ERRORS,
  },
  {
    method: "get",
    path: "/api/v1/queues/{queue}",
    id: "getQueue",
    tag: "queues",
    summary: "Return a queue with its shards, and who holds them until when.",
    inPath: IN_QUEUE,
    query: READ_PARAMETERS,
    answers: found("The queue.", ref("QueueStatus"), ["Cairn-Tx"]),
    errors: [...READ_ERRORS, "NOT_FOUND"],
  },
  {
    method: "get",
    path: "/api/v1/queues/{queue}/shards/{shard}/open",
    id: "listOpenEntries",
    tag: "queues",
    summary: "List the open entries of a shard in the order in which they were created.",
    inPath: IN_SHARD,
    query: PAGE_PARAMETERS,
    answers: found("The open entries.", array(ref("OpenEntry")), ["Cairn-Tx", "Link"]),
    errors: [...READ_ERRORS, "NOT_FOUND"],
  },
  {
    method: "get",
    path: "/api/v1/queues/{queue}/entry",
    id: "getEntry",
    tag: "queues",
    summary: "Return an entry, in whichever shard it is.",
    inPath: IN_QUEUE,
    query: ENTRY_PARAMETERS,
    answers: found("The entry.", ref("QueueEntry"), ["Cairn-Tx"]),
    errors: [...READ_ERRORS, "NOT_FOUND"],
  },
  {
    method: "post",
    path: "/api/v1/queues/{queue}/entries",
    id: "enqueue",
    tag: "queues",
    summary: "Enqueue an entry into the active shard with the fewest entries.",
    inPath: IN_QUEUE,
    query: WRITE_PARAMETERS,
    body: json(ref("NewEntry")),
    answers: written(ref("Enqueued"), ref("EntryEnqueued"), ["Cairn-Tx"], 201, ref("EntrySubmitted")),
    errors: [...SUBMIT_ERRORS, "CONFLICT", "NOT_FOUND"],
  },
  shardOperation("claim", "Claim a shard. The response contains the epoch.", "ShardClaim"),
  shardOperation("drain", "Claim a shard, and begin to drain it.", "ShardClaim"),
  shardOperation("renew", "Renew the lease of a shard.", "ShardHold"),
  shardOperation("release", "Release a shard.", "ShardHold"),
  shardOperation("retire", "Retire a drained shard.", "ShardHold"),
];

function shardOperation(action: string, summary: string, body: "ShardClaim" | "ShardHold"): Operation {
  return {
    method: "post",
    path: `/api/v1/queues/{queue}/shards/{shard}/${action}`,
    id: `${action}Shard`,
    tag: "queues",
    summary,
    inPath: IN_SHARD,
    query: WRITE_PARAMETERS,
    body: json(ref(body)),
    answers: written(ref("ShardChanged"), ref("ShardIsChanged"), ["Cairn-Tx"]),
    errors: [...SUBMIT_ERRORS, "CONFLICT", "NOT_FOUND"],
  };
}
