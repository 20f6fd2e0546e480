import { CairnError, isCairnError } from "@cairn/kv";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { DocumentKey, Json, TxId, TxOperation } from "@cairn/client";
import type { NodeApi } from "../../api/node-api.ts";
import { parseDocumentKey } from "../../text/document-key.ts";
import { documentUrl, parseDocumentPath } from "../requests/document-path.ts";
import { methodNotAllowed, pathOf } from "../requests/methods.ts";
import { describeCoding } from "../answers/compression.ts";
import { documentsJson, sendPage, versionsJson } from "../answers/document-page.ts";
import { badRequest } from "../answers/error-response.ts";
import { JSON_TYPE, jsonLine } from "../answers/json-answer.ts";
import {
  conflict,
  etag,
  expectedRevision,
  lostBecause,
  parsePreconditions,
  preconditionProblem,
  readDecision,
} from "../requests/preconditions.ts";
import {
  asOf,
  duration,
  flag,
  limit,
  type Parameters,
  parseQuery,
  type Query,
  READ_PARAMETERS,
  readOptions,
  several,
  text,
  where,
} from "../requests/query.ts";
import { jsonBody } from "../requests/request-body.ts";
import type { RegisterRoutes } from "./register-routes.ts";
import { awaitSubmitted, timeLimit } from "./await-tx.ts";

const LIST = {
  ...READ_PARAMETERS,
  namespace: text,
  prefix: text,
  limit,
  cursor: text,
  "as-of": asOf,
  where: several(where),
};
const DOCUMENT = { ...READ_PARAMETERS, history: flag, limit, cursor: text, "as-of": asOf };
const BY_KEY = "/api/v1/buckets/:bucket/document";
const KEPT = { preconditions: true };
const WRITE = { await: flag, timeout: duration };

/** Lists and documents below /api/v1/{bucket}. Registered last: they take every address that nothing else does. */
export const documentRoutes: RegisterRoutes = (app, api) => {
  const read = (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const bucket = listedBucket(request.url);
    if (bucket !== undefined) return listDocuments(api, bucket, request, reply);
    const { key, query } = addressed(request, DOCUMENT);
    return readDocument(api, key, query, request, reply);
  };
  for (const at of ["/api/v1/:bucket", "/api/v1/*", BY_KEY]) app.get(at, { config: KEPT }, read);

  for (const at of ["/api/v1/*", BY_KEY]) {
    app.put(at, { config: KEPT }, (request, reply) => {
      const { key, query } = addressed(request, WRITE);
      const document = jsonBody(request) as Json;
      const put: TxOperation = ["put", key.bucket, `${key.namespace}/${key.name}`, document];
      return write(api, key, put, query, request, reply);
    });

    app.delete(at, { config: KEPT }, (request, reply) => {
      const { key, query } = addressed(request, WRITE);
      return write(api, key, ["delete", key.bucket, `${key.namespace}/${key.name}`], query, request, reply);
    });
  }
};

/** The bucket of an address that names no document in it. */
function listedBucket(url: string): string | undefined {
  if (bucketByKey(url) !== undefined) return undefined;
  const { bucket, key } = parseDocumentPath(url);
  return key === undefined && !/[?&]key=/.test(url) ? bucket : undefined;
}

function bucketByKey(url: string): string | undefined {
  return /^\/api\/v1\/buckets\/([^/?]+)\/document(?:\?|$)/.exec(url)?.[1];
}

/**
 * The document of an address, and the other parameters. Names with dot segments cannot stand in a path, since clients resolve them before
 * they send it: so that is also a parameter, of the bucket, or where OpenAPI describes it: there the bucket alone is always a list.
 */
function addressed<P extends Parameters>(
  { url, method }: FastifyRequest,
  parameters: P,
): { key: DocumentKey; query: Query<P> } {
  if (listedBucket(url) !== undefined) throw methodNotAllowed(method, pathOf(url), ["GET", "HEAD"]);
  const byKey = bucketByKey(url);
  const { bucket, key } = byKey === undefined ? parseDocumentPath(url) : { bucket: byKey, key: undefined };
  if (key !== undefined) return { key, query: parseQuery(url, parameters) };
  const { key: given, ...query } = parseQuery(url, { ...parameters, key: text });
  if (given !== undefined)
    return { key: parseDocumentKey(bucket, given as string), query: query as Query<P> };
  throw badRequest("The parameter key is missing: namespace/name of the document.");
}

async function readDocument(
  api: NodeApi,
  key: DocumentKey,
  query: Query<typeof DOCUMENT>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (query.history === true) return readHistory(api, key, query, request, reply);
  refuse(query, ["limit", "cursor"], "go with history=true");
  const at = query["as-of"];
  const document = await api.get(key, { ...readOptions(query), ...(at === undefined ? {} : { asOf: at }) });
  const preconditions = parsePreconditions(request.headers);
  if (preconditions !== undefined) {
    const decision = readDecision(preconditions, document?.revision);
    if (decision === "conflict") throw conflict(document?.revision);
    if (decision === "unchanged" && document !== undefined) {
      void reply.code(304).header("etag", etag(document.revision));
      // As the answer with the document would.
      describeCoding(request, reply, jsonLine(document.json).length);
      return reply.send();
    }
  }
  if (document === undefined) throw absent(key);
  return reply.type(JSON_TYPE).header("etag", etag(document.revision)).send(jsonLine(document.json));
}

async function readHistory(
  api: NodeApi,
  key: DocumentKey,
  query: Query<typeof DOCUMENT>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  refuse(query, ["as-of"], "does not go with history=true");
  keepNone(request);
  const page = await api.history(key, {
    ...readOptions(query),
    ...(query.limit === undefined ? {} : { limit: query.limit }),
    ...(query.cursor === undefined ? {} : { cursor: query.cursor }),
  });
  if (page.versions.length === 0 && query.cursor === undefined) throw absent(key);
  return sendPage(request, reply, versionsJson(page.versions), page.cursor);
}

async function listDocuments(
  api: NodeApi,
  bucket: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = parseQuery(request.url, LIST);
  keepNone(request);
  const page = await api.list({
    bucket,
    ...readOptions(query),
    ...(query.namespace === undefined ? {} : { namespace: query.namespace }),
    ...(query.prefix === undefined ? {} : { prefix: query.prefix }),
    ...(query.limit === undefined ? {} : { limit: query.limit }),
    ...(query.cursor === undefined ? {} : { cursor: query.cursor }),
    ...(query["as-of"] === undefined ? {} : { asOf: query["as-of"] }),
    ...(query.where === undefined ? {} : { where: query.where }),
  });
  void reply.header("cairn-tx", page.txId);
  return sendPage(request, reply, documentsJson(page.documents), page.cursor);
}

async function write(
  api: NodeApi,
  key: DocumentKey,
  operation: TxOperation,
  query: Query<typeof WRITE>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const wait = timeLimit(query.timeout);
  const preconditions = parsePreconditions(request.headers);
  const ops = [operation];
  if (preconditions !== undefined) {
    // Only to find the revision to compare with: the transaction compares again, in the log's order.
    const expected = await expectedRevision(preconditions, async () => (await api.get(key))?.revision);
    ops.unshift(["match", key.bucket, `${key.namespace}/${key.name}`, expected]);
  }
  const submitted = await api.submit({ ops }, { timeoutMs: wait.leftMs });
  if (query.await === false) return reply.code(202).send(submitted);
  const { outcome, replaced } = await awaitSubmitted(api, submitted.txId, wait);
  const { txId, committed, reason } = outcome;
  if (!committed) throw lostBecause(reason);
  const existed = replaced === undefined ? await existedBefore(api, key, txId) : replaced > 0;
  const isPut = operation[0] === "put";
  if (isPut) void reply.header("etag", etag(txId));
  if (isPut && existed === false) void reply.code(201).header("location", documentUrl(key));
  return reply.header("cairn-tx", txId).send({ txId, existed });
}

/**
 * Reads whether a key had a document before transaction `txId`, for one that is no longer among the newest. Null when a history policy has
 * removed the answer.
 */
async function existedBefore(api: NodeApi, key: DocumentKey, txId: TxId): Promise<boolean | null> {
  try {
    // Stale, because this node has applied the write and need not wait for anything else.
    return (await api.get(key, { asOf: { txId: txId - 1 }, stale: true })) !== undefined;
  } catch (error) {
    if (isCairnError(error, "WATCH_COMPACTED")) return null;
    throw error;
  }
}

function refuse<Q extends object>(query: Q, names: readonly (keyof Q & string)[], why: string): void {
  for (const name of names) {
    if (query[name] !== undefined) throw badRequest(`The parameter ${name} ${why}.`);
  }
}

/** Of what has many documents or versions there is no one revision to compare. */
function keepNone({ headers, method }: FastifyRequest): void {
  const problem = preconditionProblem(headers, method, false);
  if (problem !== undefined) throw problem;
}

function absent({ bucket, namespace, name }: DocumentKey): CairnError {
  return new CairnError("NOT_FOUND", `There is no ${JSON.stringify(`${namespace}/${name}`)} in ${bucket}.`, {
    hint: `cairn list ${bucket}, or GET /api/v1/${bucket}?namespace=…, lists what is there.`,
  });
}
