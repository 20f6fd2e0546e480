import { randomUUID } from "node:crypto";
import { CairnError, isCairnError } from "@cairn/kv";
import type { AnyOperation, Json, TxOutcome } from "@cairn/client";
import { reasonWords, LIMITS } from "@cairn/client/protocol";
import { type StoredDocument, validTransaction } from "@cairn/engine";
import { bucketProblem, isMap } from "@cairn/text";
import { jsonAnswer, jsonLine } from "../answers/answer.ts";
import { page } from "../answers/document-page.ts";
import { badBody, badRequest, RequestError } from "../answers/request-error.ts";
import { found, jsonOf, READ_ERRORS, type Route, route, SUBMIT_ERRORS, written } from "../openapi/route.ts";
import type { Call, RouteApi } from "../permits/call.ts";
import {
  DOCUMENT_PATH,
  ENTRY_PARAMETERS,
  PAGE_PARAMETERS,
  READ_PARAMETERS,
  WRITE_PARAMETERS,
} from "../requests/parameters.ts";
import { array, ref } from "../requests/schema-parts.ts";
import { submit, type WriteCall } from "./await-tx.ts";

const IN_QUEUE = {
  concerns: queueOf,
  tag: "queues",
  // A queue is a bucket.
  inPath: {
    queue: DOCUMENT_PATH["bucket"],
    shard: { type: "integer", minimum: 0, maximum: LIMITS.shards - 1 },
  },
} as const;
const READ = { ...IN_QUEUE, method: "GET", right: "read", errors: [...READ_ERRORS, "NOT_FOUND"] } as const;
const WRITE = {
  ...IN_QUEUE,
  method: "POST",
  right: "write",
  query: WRITE_PARAMETERS,
  errors: [...SUBMIT_ERRORS, "CONFLICT", "NOT_FOUND"],
} as const;

/** These write nothing that a transaction could not, but return what a program needs: a shard or an epoch. */
export const queueRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/api/v1/queues",
    right: "read",
    concerns: "all",
    id: "listQueues",
    tag: "queues",
    summary: "List the queues with their shards.",
    query: READ_PARAMETERS,
    answers: found("The queues.", array(ref("QueueStatus")), ["Cairn-Tx"]),
    errors: READ_ERRORS,
    async handle({ api, query, admit }) {
      // The number of queues has no bound.
      await admit(Number.POSITIVE_INFINITY, query.timeoutMs);
      const { txId, queues } = await api.queues(query);
      return jsonAnswer(queues, { "cairn-tx": txId });
    },
  }),
  route({
    ...READ,
    path: "/api/v1/queues/{queue}",
    id: "getQueue",
    summary: "Return a queue with its shards, and who holds them until when.",
    query: READ_PARAMETERS,
    answers: found("The queue.", ref("QueueStatus"), ["Cairn-Tx"]),
    async handle(call) {
      const { txId, queue } = await call.api.queue(queueOf(call), call.query);
      return jsonAnswer(queue, { "cairn-tx": txId });
    },
  }),
  route({
    ...READ,
    path: "/api/v1/queues/{queue}/shards/{shard}/open",
    id: "listOpenEntries",
    summary: "List the open entries of a shard in the order in which they were created.",
    query: PAGE_PARAMETERS,
    answers: found("The open entries.", array(ref("OpenEntry")), ["Cairn-Tx", "Cairn-Position", "Link"]),
    async handle(call) {
      const { query, admit, url } = call;
      const place = { queue: queueOf(call), shard: shardOf(call) };
      const { txId, position, entries, cursor } = await call.api.openEntries({ ...place, ...query, admit });
      const items = entries.map(({ document, origin }) => `${entryJson(document, origin.txId)}}`);
      return page(url, items, cursor, { "cairn-tx": txId, "cairn-position": position });
    },
  }),
  route({
    ...READ,
    path: "/api/v1/queues/{queue}/entry",
    id: "getEntry",
    summary: "Return an entry, in whichever shard it is.",
    query: ENTRY_PARAMETERS,
    answers: found("The entry.", ref("QueueEntry"), ["Cairn-Tx"]),
    async handle(call) {
      const queue = queueOf(call);
      const { name, ...query } = call.query;
      const { txId, entry } = await call.api.entry(queue, name, { ...query, admit: call.admit });
      if (entry === undefined) {
        throw new CairnError(
          "NOT_FOUND",
          `There is no entry ${JSON.stringify(name)} in ${queue}.`,
          `List the entries with cairn list ${queue} or GET /api/v1/${queue}. Entries of retired shards are removed.`,
        );
      }
      const { document, place } = entry;
      const moved = JSON.stringify(place.moved ?? null);
      const json = `${entryJson(document, place.txId)},"open":${place.isOpen},"moved":${moved}}`;
      return { headers: { "cairn-tx": txId }, body: jsonLine(json) };
    },
  }),
  route({
    ...WRITE,
    path: "/api/v1/queues/{queue}/entries",
    id: "enqueue",
    summary: "Enqueue an entry into the shard with the fewest open entries.",
    body: jsonOf(ref("NewEntry")),
    answers: written(ref("Enqueued"), ["Cairn-Tx"], 201),
    async handle(call) {
      const queue = queueOf(call);
      const { name = randomUUID(), document } = newEntry(call.body);
      try {
        const { txId, outcome } = await change(call, ["enqueue", queue, name, document]);
        if (outcome === undefined) return jsonAnswer({ txId, name }, {}, 202);
        const { txTime, shards: [shard] = [] } = outcome;
        return jsonAnswer({ txId, txTime, name, shard }, { "cairn-tx": txId }, 201);
      } catch (error) {
        throw withName(error, queue, name);
      }
    },
  }),
  shardRoute("claim", "Claim a shard. The response contains the epoch.", "ShardClaim"),
  shardRoute("drain", "Claim a shard, and begin to drain it.", "ShardClaim"),
  shardRoute("renew", "Renew the lease of a shard.", "ShardHold"),
  shardRoute("release", "Release a shard.", "ShardHold"),
  shardRoute("retire", "Retire a drained shard.", "ShardHold"),
];

function shardRoute(action: ShardOperation[0], summary: string, body: "ShardClaim" | "ShardHold"): Route {
  return route({
    ...WRITE,
    path: `/api/v1/queues/{queue}/shards/{shard}/${action}`,
    id: `${action}Shard`,
    summary,
    body: jsonOf(ref(body)),
    answers: written(ref("ShardChanged"), ["Cairn-Tx"]),
    async handle(call) {
      const operation = shardOperation(action, queueOf(call), shardOf(call), call.body);
      const { txId, outcome } = await change(call, operation);
      if (outcome === undefined) return jsonAnswer({ txId }, {}, 202);
      const [, , , given] = operation;
      // The epoch of a claim is its transaction.
      const epoch = typeof given === "number" ? given : "epoch" in given ? given.epoch : txId;
      return jsonAnswer({ txId, txTime: outcome.txTime, epoch }, { "cairn-tx": txId });
    },
  });
}

type ShardOperation = Extract<
  AnyOperation,
  readonly ["claim" | "drain" | "renew" | "release" | "retire", ...unknown[]]
>;

/** Returns the error of an enqueue whose outcome is unknown, with the name of the entry, which may be a random one. */
function withName(error: unknown, queue: string, name: string): unknown {
  if (!isCairnError(error, "TX_TIMEOUT", "LOG_UNREACHABLE")) return error;
  const { status, details } = error instanceof RequestError ? error : { status: undefined, details: {} };
  return new RequestError(error.code, error.message, {
    ...(status === undefined ? {} : { status }),
    // The hint of any transaction comes first, because it ends with the doubt that this one removes.
    hint: `${error.hint ?? ""} The entry may exist or come to exist: GET /api/v1/queues/${queue}/entry?name=${encodeURIComponent(name)} shows it, and it can be sent again safely with this name.`.trim(),
    cause: error,
    details: { ...details, name },
  });
}

/** Submits an operation; returns its outcome unless `await=false`. Throws `CONFLICT` or, for no queue, `NOT_FOUND`. */
async function change(
  call: WriteCall,
  operation: OperationOnQueue,
): Promise<{ txId: number; outcome?: TxOutcome }> {
  const { api } = call;
  const { txId, result } = await submit(call, validOperation(operation));
  if (result === undefined) return { txId };
  const { outcome } = result;
  if (outcome.committed) return { txId, outcome };
  // This throws NOT_FOUND with a better hint if that is the reason.
  await api.queue(operation[1], { stale: true });
  throw new RequestError("CONFLICT", `Nothing was changed: ${reasonWords(outcome.reason)}.`, {
    hint: await refusalHint(api, operation),
    details: { txId },
  });
}

type OperationOnQueue = AnyOperation & readonly [string, string, ...unknown[]];

const FORMS: Readonly<Record<string, string>> = {
  enqueue: 'Send {"name": name, "document": document}. Without a name, the entry gets a random one.',
  claim: 'Send {"as": name}, where the name says who claims the shard.',
  drain: 'Send {"as": name}, where the name says who drains the shard.',
};
const EPOCH_FORM = 'Send {"epoch": epoch, "as": name}, with the epoch that the claim returned, and its name.';

/** Returns the transaction. Throws `TX_INVALID` with the form of the request's own body. */
function validOperation(operation: AnyOperation): ReturnType<typeof validTransaction> {
  try {
    return validTransaction({ ops: [operation] });
  } catch (error) {
    if (!isCairnError(error, "TX_INVALID")) throw error;
    const problem = error.message.replace("Not a valid transaction: ops[0]: ", "");
    throw badBody(`Not a valid ${operation[0]}: ${problem}`, FORMS[operation[0]] ?? EPOCH_FORM);
  }
}

async function refusalHint(api: RouteApi, [op, queue, name]: OperationOnQueue): Promise<string> {
  if (op !== "enqueue") {
    return `Look at the shards of the queue, who holds them and until when, with cairn queue show ${queue} or GET /api/v1/queues/${queue}.`;
  }
  const { entry } = await api.entry(queue, name, { stale: true });
  return entry === undefined
    ? `Directors make room: they drain shards as entries are finished. To make room at once, raise "shards" or "cap" of ${queue} in the policies (cairn policy show prints them), and set them with cairn policy apply.`
    : `The entry exists already, and GET /api/v1/queues/${queue}/entry?name=${encodeURIComponent(name)} returns it. Enqueue another one under another name.`;
}

/** Returns the queue in an address. Throws `REQUEST_INVALID` if no queue can have this name. */
function queueOf({ params: { queue = "" } }: Pick<Call, "params">): string {
  const problem = bucketProblem(queue);
  if (problem === undefined) return queue;
  throw badRequest(`Not a valid address: ${problem}.`, "GET /api/v1/queues lists the queues.");
}

function shardOf({ params: { shard: text = "" } }: Pick<Call, "params">): number {
  const shard = /^(?:0|[1-9]\d{0,3})$/.test(text) ? Number(text) : LIMITS.shards;
  if (shard < LIMITS.shards) return shard;
  throw badRequest(
    `A shard is a whole number from 0 to ${LIMITS.shards - 1}, not ${JSON.stringify(text)}.`,
    "GET /api/v1/queues/{queue} lists the shards.",
  );
}

function shardOperation(
  action: ShardOperation[0],
  queue: string,
  shard: number,
  body: unknown,
): ShardOperation {
  const { as, epoch, ...others } = isMap(body) ? body : { other: body };
  const isClaim = action === "claim" || action === "drain";
  // A map would be taken for a hold. Everything else about the parts is checked with the transaction.
  const isGiven = isClaim ? as !== undefined && epoch === undefined : epoch !== undefined && !isMap(epoch);
  if (!isGiven || Object.keys(others).length > 0) {
    throw badBody(`Not a valid ${action}: the body has another form.`, FORMS[action] ?? EPOCH_FORM);
  }
  const hold = as === undefined ? epoch : { epoch, as };
  return [action, queue, shard, isClaim ? { as } : hold] as unknown as ShardOperation;
}

function newEntry(body: unknown): { readonly name?: string; readonly document: Json } {
  const { name, document, ...others } = isMap(body) ? body : { other: body };
  const isNamed = name === undefined || typeof name === "string";
  if (isNamed && document !== undefined && Object.keys(others).length === 0) {
    return { ...(name === undefined ? {} : { name }), document: document as Json };
  }
  throw badBody("Not a valid entry: the body has another form.", FORMS["enqueue"] ?? "");
}

/** Returns the beginning of an entry as JSON, without the brace at its end. */
function entryJson({ namespace, name, revision, json }: StoredDocument, createdTx: number): string {
  return `{"shard":${namespace},"name":${JSON.stringify(name)},"revision":${revision},"createdTx":${createdTx},"document":${json}`;
}
