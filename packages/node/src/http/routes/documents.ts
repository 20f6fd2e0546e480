import { CairnError, isCairnError } from "@cairn/kv";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { DocumentKey, Json, TxId, TxOperation } from "@cairn/client";
import type { RouteApi } from "../permits/permitted-api.ts";
import { parseDocumentKey } from "../../text/document-key.ts";
import { describeCoding } from "../answers/compression.ts";
import { documentsJson, sendPage, versionsJson } from "../answers/document-page.ts";
import { badBody, badRequest, methodNotAllowed } from "../answers/request-error.ts";
import { JSON_TYPE, jsonLine } from "../answers/json-answer.ts";
import {
  type DocumentPath,
  documentUrl,
  parseDocumentPath,
  parseQuery,
  pathOf,
  type Query,
} from "../requests/address.ts";
import {
  DOCUMENT_PARAMETERS,
  KEY_PARAMETERS,
  LIST_PARAMETERS,
  type QueryParameters,
  WRITE_PARAMETERS,
} from "../requests/parameters.ts";
import {
  conflict,
  etag,
  lostBecause,
  parsePreconditions,
  preconditionProblem,
  readDecision,
} from "../requests/preconditions.ts";
import { jsonBody } from "../requests/request-body.ts";
import type { RegisterRoutes } from "./register-routes.ts";
import { timeLimit } from "./await-tx.ts";
import { type ConditionalWrite, writeConditionally } from "./conditional-write.ts";

const BY_KEY = "/api/v1/buckets/:bucket/document";
const CONDITIONAL = { preconditions: true };

/** Must be registered last, because they match every address that no other route matches. */
export const documentRoutes: RegisterRoutes = (app, apiFor) => {
  const read = (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const { bucket, isList } = parseAddress(request.url);
    if (isList) return listDocuments(apiFor(request), bucket, request, reply);
    const { key, query } = addressed(request, DOCUMENT_PARAMETERS);
    return readDocument(apiFor(request), key, query, request, reply);
  };
  for (const at of ["/api/v1/:bucket", "/api/v1/*", BY_KEY]) app.get(at, { config: CONDITIONAL }, read);

  for (const at of ["/api/v1/*", BY_KEY]) {
    app.put(at, { config: CONDITIONAL }, (request, reply) => {
      const { key, query } = addressed(request, WRITE_PARAMETERS);
      const document = jsonBody(request) as Json;
      const put: TxOperation = ["put", key.bucket, `${key.namespace}/${key.name}`, document];
      return write(apiFor(request), key, put, query, request, reply);
    });

    app.delete(at, { config: CONDITIONAL }, (request, reply) => {
      const { key, query } = addressed(request, WRITE_PARAMETERS);
      return write(
        apiFor(request),
        key,
        ["delete", key.bucket, `${key.namespace}/${key.name}`],
        query,
        request,
        reply,
      );
    });
  }
};

/** Parses the address; `isList` is true if neither the path nor the query names a document. */
function parseAddress(url: string): DocumentPath & { readonly isList: boolean } {
  // Matching the pattern takes longer than everything else here.
  const bucketByKey = url.startsWith("/api/v1/buckets/")
    ? /^\/api\/v1\/buckets\/([^/?]+)\/document(?:\?|$)/.exec(url)?.[1]
    : undefined;
  if (bucketByKey !== undefined) return { bucket: bucketByKey, isList: false };
  const path = parseDocumentPath(url);
  return { ...path, isList: path.key === undefined && !/[?&]key=/.test(url) };
}

/**
 * Returns the key of the document that a URL addresses, and the other parameters. Clients resolve dot segments before
 * they send a path, so a document with such a name is addressed by the parameter `key`. This parameter follows the
 * address of the bucket, or the separate address that OpenAPI describes, because in OpenAPI the bucket alone always
 * means a list.
 */
function addressed<P extends QueryParameters>(
  { url, method }: FastifyRequest,
  parameters: P,
): { key: DocumentKey; query: Query<P> } {
  const { bucket, key, isList } = parseAddress(url);
  if (isList) throw methodNotAllowed(method, pathOf(url), ["GET", "HEAD"]);
  if (key !== undefined) return { key, query: parseQuery(url, parameters) };
  const query: object = parseQuery(url, { ...parameters, ...KEY_PARAMETERS });
  const { key: given, ...others } = query as Query<typeof KEY_PARAMETERS>;
  if (given === undefined)
    throw badRequest("The parameter key, the namespace/name of the document, is missing.");
  return { key: parseDocumentKey(bucket, given), query: others as Query<P> };
}

async function readDocument(
  api: RouteApi,
  key: DocumentKey,
  query: Query<typeof DOCUMENT_PARAMETERS>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (query.history === true) return readHistory(api, key, query, request, reply);
  for (const name of ["limit", "cursor"] as const)
    if (query[name] !== undefined) throw badRequest(`The parameter ${name} requires history=true.`);
  const document = await api.get(key, { ...query, admit: request.admit });
  const preconditions = parsePreconditions(request.headers);
  if (preconditions !== undefined) {
    const decision = readDecision(preconditions, document?.revision);
    if (decision === "conflict") throw conflict(document?.revision);
    if (decision === "unchanged" && document !== undefined) {
      void reply.code(304).header("etag", etag(document.revision));
      // HEAD has the same headers as GET.
      describeCoding(request, reply, jsonLine(document.json).length);
      return reply.send();
    }
  }
  if (document === undefined) throw absent(key);
  return reply.type(JSON_TYPE).header("etag", etag(document.revision)).send(jsonLine(document.json));
}

async function readHistory(
  api: RouteApi,
  key: DocumentKey,
  query: Query<typeof DOCUMENT_PARAMETERS>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (query.asOf !== undefined) throw badRequest("The parameter as-of cannot be combined with history=true.");
  refusePreconditions(request);
  const page = await api.history(key, { ...query, admit: request.admit });
  if (page.versions.length === 0 && query.cursor === undefined) throw absent(key);
  return sendPage(request, reply, versionsJson(page.versions), page.cursor);
}

async function listDocuments(
  api: RouteApi,
  bucket: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const query = parseQuery(request.url, LIST_PARAMETERS);
  refusePreconditions(request);
  const page = await api.list({ bucket, ...query, admit: request.admit });
  void reply.header("cairn-tx", page.txId);
  return sendPage(request, reply, documentsJson(page.documents), page.cursor);
}

async function write(
  api: RouteApi,
  key: DocumentKey,
  operation: TxOperation,
  query: Query<typeof WRITE_PARAMETERS>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const conditional: ConditionalWrite = {
    subject: JSON.stringify(key),
    preconditions: parsePreconditions(request.headers),
    current: async (options) => (await api.get(key, options))?.revision,
    operations: (expected) =>
      expected === undefined
        ? [operation]
        : [["match", key.bucket, `${key.namespace}/${key.name}`, expected], operation],
    lost: conflict,
  };
  const { submitted, result } = await writeConditionally(api, conditional, {
    awaits: query.await !== false,
    limit: timeLimit(query.timeoutMs),
  }).catch((error: unknown) => {
    throw ofDocument(error);
  });
  if (result === undefined) return reply.code(202).send({ txId: submitted.txId });
  const { outcome, replaced } = result;
  const { txId, committed, reason } = outcome;
  if (!committed) throw lostBecause(reason);
  const existed = replaced === undefined ? await existedBefore(api, key, txId) : replaced > 0;
  const isPut = operation[0] === "put";
  if (isPut) void reply.header("etag", etag(txId));
  if (isPut && existed === false) void reply.code(201).header("location", documentUrl(key));
  return reply.header("cairn-tx", txId).send({ txId, existed });
}

/** Returns an error about a transaction as one about the document, because the client did not send a transaction. */
function ofDocument(error: unknown): unknown {
  if (!isCairnError(error, "TX_INVALID")) return error;
  const problem = error.message.replace(/^Not a valid transaction: ops\[\d+\]: /, "");
  return badBody(
    `The document cannot be stored: ${problem}`,
    "Correct the document, and send it again. Nothing was stored.",
  );
}

/**
 * Determines whether a key had a document before transaction `txId`, for a transaction that is no longer among the
 * newest. Returns null if a history policy has removed the version that would show it.
 */
async function existedBefore(api: RouteApi, key: DocumentKey, txId: TxId): Promise<boolean | null> {
  try {
    // A stale read suffices, because this node has already applied the write.
    return (await api.get(key, { asOf: { txId: txId - 1 }, stale: true })) !== undefined;
  } catch (error) {
    if (isCairnError(error, "WATCH_COMPACTED")) return null;
    throw error;
  }
}

/** Rejects preconditions, because a response with several documents or versions has no single revision to compare. */
function refusePreconditions({ headers, method }: FastifyRequest): void {
  const problem = preconditionProblem(headers, method, false);
  if (problem !== undefined) throw problem;
}

function absent({ bucket, namespace, name }: DocumentKey): CairnError {
  return new CairnError("NOT_FOUND", `There is no ${JSON.stringify(`${namespace}/${name}`)} in ${bucket}.`, {
    hint: `List the documents with cairn list ${bucket} or GET /api/v1/${bucket}?namespace=….`,
  });
}
