import { randomUUID } from "node:crypto";
import { CairnError, isCairnError } from "@cairn/kv";
import type { FastifyReply } from "fastify";
import type { Json, TxOperation } from "@cairn/client";
import { reasonWords } from "@cairn/client/protocol";
import type { FoundEntry } from "../../index/read/queue-reads.ts";
import type { StoredDocument } from "../../index/read/documents.ts";
import { MAX_SHARDS } from "../../policies/policy-problems.ts";
import { bucketProblem } from "../../text/document-key.ts";
import { type ValidTransaction, validTransaction } from "../../transactions/validate-transaction.ts";
import { sendPage } from "../answers/document-page.ts";
import { JSON_TYPE, jsonLine } from "../answers/json-answer.ts";
import { badBody, badRequest, RequestError } from "../answers/request-error.ts";
import type { RouteApi } from "../permits/permitted-api.ts";
import { parseQuery, type Query } from "../requests/address.ts";
import {
  ENTRY_PARAMETERS,
  PAGE_PARAMETERS,
  READ_PARAMETERS,
  WRITE_PARAMETERS,
} from "../requests/parameters.ts";
import { jsonBody } from "../requests/request-body.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";
import type { RegisterRoutes } from "./register-routes.ts";

const QUEUE = "/api/v1/queues/:queue";
const ACTIONS = ["claim", "drain", "renew", "release", "retire"] as const;

interface QueueParams {
  readonly queue: string;
}

interface ShardParams extends QueueParams {
  readonly shard: string;
}

/**
 * Registers the routes of queues. They write nothing that a transaction could not write (docs/queues.md), but return
 * what a program wants to know: the shard of an entry, or the epoch of a claim.
 */
export const queueRoutes: RegisterRoutes = (app, apiFor) => {
  app.get("/api/v1/queues", async (request, reply) => {
    const { txId, queues } = await apiFor(request).queues(parseQuery(request.url, READ_PARAMETERS));
    return reply.header("cairn-tx", txId).send(queues);
  });

  app.get<{ Params: QueueParams }>(QUEUE, async (request, reply) => {
    const query = parseQuery(request.url, READ_PARAMETERS);
    const { txId, queue } = await apiFor(request).queue(queueOf(request.params), query);
    return reply.header("cairn-tx", txId).send(queue);
  });

  app.get<{ Params: ShardParams }>(`${QUEUE}/shards/:shard/open`, async (request, reply) => {
    const queue = queueOf(request.params);
    const query = parseQuery(request.url, PAGE_PARAMETERS);
    const shard = parseShard(request.params.shard);
    const { txId, entries, cursor } = await apiFor(request).openEntries({
      queue,
      shard,
      ...query,
      admit: request.admit,
    });
    void reply.header("cairn-tx", txId);
    const items = entries.map(({ document, origin }) => `${entryJson(document, origin.txId)}}`);
    return sendPage(request, reply, items, cursor);
  });

  app.get<{ Params: QueueParams }>(`${QUEUE}/entry`, async (request, reply) => {
    const queue = queueOf(request.params);
    const { name, ...query } = parseQuery(request.url, ENTRY_PARAMETERS);
    if (name === undefined)
      throw badRequest(
        "The parameter name, the name of the entry, is missing.",
        "Add ?name= and the escaped name.",
      );
    const { txId, entry } = await apiFor(request).entry(queue, name, { ...query, admit: request.admit });
    if (entry === undefined) throw noEntry(queue, name);
    return reply
      .header("cairn-tx", txId)
      .type(JSON_TYPE)
      .send(jsonLine(foundJson(entry)));
  });

  app.post<{ Params: QueueParams }>(`${QUEUE}/entries`, async (request, reply) => {
    const queue = queueOf(request.params);
    const query = parseQuery(request.url, WRITE_PARAMETERS);
    const { name = randomUUID(), document } = newEntry(jsonBody(request));
    const operation = ["enqueue", queue, name, document] as const;
    const written = await submit(apiFor(request), operation, query, reply, { name }).catch(
      (error: unknown) => {
        throw withName(error, queue, name);
      },
    );
    if (written === undefined) return reply;
    const { txId, txTime, shards: [shard] = [] } = written;
    return reply.code(201).send({ txId, txTime, name, shard });
  });

  for (const action of ACTIONS) {
    app.post<{ Params: ShardParams }>(`${QUEUE}/shards/:shard/${action}`, async (request, reply) => {
      const queue = queueOf(request.params);
      const query = parseQuery(request.url, WRITE_PARAMETERS);
      const shard = parseShard(request.params.shard);
      const operation = shardOperation(action, queue, shard, jsonBody(request));
      const written = await submit(apiFor(request), operation, query, reply);
      if (written === undefined) return reply;
      const { txId, txTime } = written;
      const [, , , given] = operation;
      return reply.send({ txId, txTime, epoch: epochOf(given) ?? txId });
    });
  }
};

/** Returns the epoch of an operation's last part; undefined for a claim, whose epoch is its transaction. */
function epochOf(given: ShardOperation[3]): number | undefined {
  if (typeof given === "number") return given;
  return "epoch" in given ? given.epoch : undefined;
}

type ShardOperation = Extract<
  TxOperation,
  readonly ["claim" | "drain" | "renew" | "release" | "retire", ...unknown[]]
>;

/** The codes of errors after which a transaction may be stored. */
const UNDECIDED: ReadonlySet<string> = new Set(["TX_TIMEOUT", "LOG_UNREACHABLE"]);

/** Returns the error of an enqueue whose outcome is unknown, with the name of the entry, which may be a random one. */
function withName(error: unknown, queue: string, name: string): unknown {
  if (!isCairnError(error) || !UNDECIDED.has(error.code)) return error;
  const { status, details } = error instanceof RequestError ? error : { status: undefined, details: {} };
  return new RequestError(error.code, error.message, {
    ...(status === undefined ? {} : { status }),
    hint: `The entry may exist or come to exist: GET /api/v1/queues/${queue}/entry?name=${encodeURIComponent(name)} shows it. To try again safely, send it with this name. ${error.hint ?? ""}`.trim(),
    cause: error,
    details: { ...details, name },
  });
}

/**
 * Submits an operation, and returns its outcome if it was committed. Returns undefined after it has responded with 202.
 * Throws `CONFLICT` with the reason of the refusal, or `NOT_FOUND` if the bucket is not a queue.
 */
async function submit(
  api: RouteApi,
  operation: TxOperation & readonly [string, string, ...unknown[]],
  query: Query<typeof WRITE_PARAMETERS>,
  reply: FastifyReply,
  known: { readonly name?: string } = {},
): Promise<{ txId: number; txTime: string; shards?: readonly number[] | undefined } | undefined> {
  const limit = timeLimit(query.timeoutMs);
  const submitted = await api.submit(validOperation(operation), { timeoutMs: limit.leftMs });
  if (query.await === false) {
    void reply.code(202).send({ txId: submitted.txId, ...known });
    return undefined;
  }
  const { outcome } = await awaitSubmitted(api, submitted, limit);
  if (outcome.committed) {
    void reply.header("cairn-tx", outcome.txId);
    return outcome;
  }
  // This throws NOT_FOUND with a better hint if that is the reason.
  await api.queue(operation[1], { stale: true });
  throw new RequestError("CONFLICT", `Nothing was changed: ${reasonWords(outcome.reason)}.`, {
    hint: await refusalHint(api, operation),
    details: { txId: outcome.txId },
  });
}

const FORMS: Readonly<Record<string, string>> = {
  enqueue: 'Send {"name": name, "document": document}. Without a name, the entry gets a random one.',
  claim: 'Send {"as": name}, where the name says who claims the shard.',
  drain: 'Send {"as": name}, where the name says who drains the shard.',
};
const EPOCH_FORM = 'Send {"epoch": epoch, "as": name}, with the epoch that the claim returned, and its name.';

/** Returns the transaction. Throws `TX_INVALID` with the form of the request's own body. */
function validOperation(operation: TxOperation): ValidTransaction {
  try {
    return validTransaction({ ops: [operation] });
  } catch (error) {
    if (!isCairnError(error, "TX_INVALID")) throw error;
    const problem = error.message.replace("Not a valid transaction: ops[0]: ", "");
    throw badBody(`Not a valid ${operation[0]}: ${problem}`, FORMS[operation[0]] ?? EPOCH_FORM);
  }
}

async function refusalHint(
  api: RouteApi,
  [op, queue, name]: TxOperation & readonly [string, string, ...unknown[]],
): Promise<string> {
  if (op !== "enqueue") {
    return `Look at the shards of the queue, who holds them and until when, with cairn queue show ${queue} or GET /api/v1/queues/${queue}.`;
  }
  const { entry } = await api.entry(queue, name, { stale: true });
  return entry === undefined
    ? `Directors make room: they drain shards as entries are finished. To make room at once, raise "shards" or "cap" of ${queue} in the policies (cairn policy show prints them), and set them with cairn policy apply.`
    : `The entry exists already, and GET /api/v1/queues/${queue}/entry?name=${encodeURIComponent(name)} returns it. Enqueue another one under another name.`;
}

/** Returns the queue in an address. Throws `REQUEST_INVALID` if no queue can have this name. */
function queueOf({ queue }: QueueParams): string {
  const problem = bucketProblem(queue);
  if (problem === undefined) return queue;
  throw badRequest(`Not a valid address: ${problem}.`, "GET /api/v1/queues lists the queues.");
}

function parseShard(text: string): number {
  const shard = /^(?:0|[1-9]\d{0,3})$/.test(text) ? Number(text) : MAX_SHARDS;
  if (shard < MAX_SHARDS) return shard;
  throw badRequest(
    `A shard is a whole number from 0 to ${MAX_SHARDS - 1}, not ${JSON.stringify(text)}.`,
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

function isMap(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Returns the beginning of an entry as JSON, without the brace at its end. */
function entryJson({ namespace, name, revision, json }: StoredDocument, createdTx: number): string {
  return `{"shard":${namespace},"name":${JSON.stringify(name)},"revision":${revision},"createdTx":${createdTx},"document":${json}`;
}

function foundJson({ document, place }: FoundEntry): string {
  const moved = place.moved === undefined ? "null" : JSON.stringify(place.moved);
  return `${entryJson(document, place.txId)},"open":${place.isOpen},"moved":${moved}}`;
}

function noEntry(queue: string, name: string): CairnError {
  return new CairnError("NOT_FOUND", `There is no entry ${JSON.stringify(name)} in ${queue}.`, {
    hint: `List the entries with cairn list ${queue} or GET /api/v1/${queue}. Entries of retired shards are removed.`,
  });
}
