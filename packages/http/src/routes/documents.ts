import { CairnError, isCairnError, unlessFailed } from "@cairn/kv";
import type { DocumentKey, Json, TxId, TxOperation } from "@cairn/client";
import { parseDocumentKey } from "@cairn/text";
import { type HttpAnswer, jsonAnswer, jsonLine } from "../answers/answer.ts";
import { documentsJson, page, versionsJson } from "../answers/document-page.ts";
import { badBody, badRequest } from "../answers/request-error.ts";
import {
  type Declared,
  found,
  jsonOf,
  PRECONDITIONS,
  READ_ERRORS,
  type Route,
  route,
  SUBMIT_ERRORS,
  written,
} from "../openapi/route.ts";
import type { Call } from "../permits/call.ts";
import { type DocumentPath, documentUrl, parseDocumentPath, type Query } from "../requests/address.ts";
import {
  DOCUMENT_PARAMETERS,
  DOCUMENT_PATH,
  LIST_PARAMETERS,
  type QueryParameters,
  READ_PARAMETERS,
  WRITE_PARAMETERS,
  KEY_PARAMETERS,
} from "../requests/parameters.ts";
import {
  conflict,
  etag,
  lostBecause,
  parsePreconditions,
  preconditionProblem,
  readDecision,
  requiredRevision,
} from "../requests/preconditions.ts";
import { array, ref } from "../requests/schema-parts.ts";
import { submit, type WriteCall } from "./await-tx.ts";
import { BY_KEY } from "./find-route.ts";

const DOCUMENT = {
  concerns: (call: DocumentCall) => keyOf(call).bucket,
  tag: "documents",
  inPath: DOCUMENT_PATH,
  requestHeaders: PRECONDITIONS,
} as const;
const WRITE = {
  ...DOCUMENT,
  right: "write",
  query: WRITE_PARAMETERS,
  errors: [...SUBMIT_ERRORS, "CONFLICT", ["CONFLICT", 412], "NOT_FOUND"],
} as const;
const WRITTEN = written(ref("Written"), ["Cairn-Tx", "ETag"]);

type DocumentCall = Pick<Call, "url" | "params" | "query">;

/** The routes of documents match every address that belongs to no other resource. */
export const documentRoutes: readonly Route[] = [
  route({
    method: "GET",
    path: "/api/v1/buckets",
    right: "read",
    concerns: "all",
    id: "listBuckets",
    tag: "documents",
    summary: "List the buckets with their counts.",
    query: READ_PARAMETERS,
    answers: found("The buckets.", array(ref("Bucket")), ["Cairn-Tx"]),
    errors: READ_ERRORS,
    async handle({ api, query, admit }) {
      // The number of buckets has no bound.
      await admit(Number.POSITIVE_INFINITY, query.timeoutMs);
      const { txId, buckets } = await api.buckets(query);
      return jsonAnswer(buckets, { "cairn-tx": txId });
    },
  }),
  route({
    method: "GET",
    path: "/api/v1/{bucket}",
    right: "read",
    concerns: ({ url }) => parseDocumentPath(url).bucket,
    checkUrl: parseDocumentPath,
    id: "listDocuments",
    tag: "documents",
    summary: "List a bucket.",
    inPath: DOCUMENT_PATH,
    query: LIST_PARAMETERS,
    answers: found("The documents.", array(ref("Document")), ["Cairn-Tx", "Cairn-Position", "Link"]),
    errors: [...READ_ERRORS, "NOT_FOUND", "WATCH_COMPACTED", "OUTCOME_REMOVED"],
    async handle({ api, query, admit, url }) {
      const { bucket } = parseDocumentPath(url);
      const { txId, position, documents, cursor } = await api.list({ bucket, ...query, admit });
      const headers = { "cairn-tx": txId, "cairn-position": position };
      return page(url, documentsJson(documents), cursor, headers);
    },
  }),
  ...addressed("getDocument", "Read", {
    ...DOCUMENT,
    method: "GET",
    right: "read",
    query: DOCUMENT_PARAMETERS,
    answers: [
      ...found("The document, or its versions.", ref("Json"), ["Cairn-Tx", "ETag", "Link"]),
      {
        status: 304,
        description: "The client already has this revision.",
        headers: ["Cairn-Tx", "ETag"],
      },
    ],
    errors: [...READ_ERRORS, "NOT_FOUND", "WATCH_COMPACTED", "OUTCOME_REMOVED", ["CONFLICT", 412]],
    errorHeaders: { 404: ["Cairn-Tx"], 412: ["Cairn-Tx"] },
    handle: (call) => (call.query.history === true ? readHistory(call) : readDocument(call)),
  }),
  ...addressed("putDocument", "Write", {
    ...WRITE,
    method: "PUT",
    body: jsonOf(ref("Json")),
    answers: [
      ...WRITTEN,
      {
        status: 201,
        description: "The document is new and has been indexed.",
        schema: ref("Written"),
        headers: ["Cairn-Tx", "ETag", "Location"],
      },
    ],
    handle: async (call) => {
      const key = keyOf(call);
      return await write(call, key, ["put", key.bucket, `${key.namespace}/${key.name}`, call.body as Json]);
    },
  }),
  ...addressed("deleteDocument", "Delete", {
    ...WRITE,
    method: "DELETE",
    answers: WRITTEN,
    handle: async (call) => {
      const key = keyOf(call);
      return await write(call, key, ["delete", key.bucket, `${key.namespace}/${key.name}`]);
    },
  }),
];

/** Returns a route for each form of a document's address. */
function addressed<P extends QueryParameters>(
  id: string,
  verb: string,
  declared: Omit<Declared<P>, "path" | "id" | "summary">,
): Route[] {
  const label = "/api/v1/*";
  const of = id.replace("Document", "");
  const why = verb === "Read" ? ", such as one whose name has dot segments, which a path cannot contain" : "";
  return [
    route({
      ...declared,
      path: BY_KEY,
      query: { ...declared.query, ...KEY_PARAMETERS },
      id: `${of}DocumentByKey`,
      summary: `${verb} the document \`key\`${why}.`,
    } as Declared<P & typeof KEY_PARAMETERS>),
    route({
      ...declared,
      path: "/api/v1/{bucket}/{namespace}/{name}",
      checkUrl: parseDocumentPath,
      label,
      id,
      summary: `${verb} a document.`,
    }),
    route({
      ...declared,
      path: "/api/v1/{bucket}/{name}",
      checkUrl: parseDocumentPath,
      label,
      id: `${of}DefaultDocument`,
      summary: `${verb} a document in the namespace \`default\`.`,
    }),
  ];
}

/**
 * Returns the key of the document that a URL addresses. The parameter `key` is for names with dot segments, which
 * clients would resolve. OpenAPI describes a separate address for it, because there the bucket alone means a list.
 */
function keyOf({ url, params, query }: DocumentCall): DocumentKey {
  const { bucket, key }: DocumentPath =
    params["bucket"] === undefined ? parseDocumentPath(url) : { bucket: params["bucket"] };
  const { key: given = "" } = query as { readonly key?: string };
  return key ?? parseDocumentKey(bucket, given);
}

/** What names the transaction as of which a stale read is valid, also if there is nothing; undefined for other reads. */
function namedIfStale({ query, headers }: Call<Query<typeof DOCUMENT_PARAMETERS>>) {
  if (query.stale !== true) return undefined;
  let asOf: TxId = 0;
  return {
    onAsOf: (txId: TxId): void => {
      asOf = txId;
    },
    name: (): void => {
      headers["cairn-tx"] = asOf;
    },
  };
}

/** Most requests are for a single document, so this costs only one promise. */
function readDocument(call: Call<Query<typeof DOCUMENT_PARAMETERS>>): Promise<HttpAnswer> {
  const { query, request, admit } = call;
  const key = keyOf(call);
  for (const name of ["limit", "cursor"] as const)
    if (query[name] !== undefined) throw badRequest(`The parameter ${name} requires history=true.`);
  const preconditions = parsePreconditions(request.headers);
  const named = namedIfStale(call);
  return call.api.get(key, { ...query, admit, onAsOf: named?.onAsOf }).then((document) => {
    named?.name();
    const decision = preconditions === undefined ? "send" : readDecision(preconditions, document?.revision);
    if (decision === "conflict") throw conflict(document?.revision);
    if (document === undefined) throw absent(key);
    const headers = { etag: etag(document.revision) };
    return decision === "unchanged" ? { status: 304, headers } : { headers, body: jsonLine(document.json) };
  });
}

async function readHistory(call: Call<Query<typeof DOCUMENT_PARAMETERS>>): Promise<HttpAnswer> {
  const { query, request, method, url, admit } = call;
  const key = keyOf(call);
  if (query.asOf !== undefined) throw badRequest("The parameter as-of cannot be combined with history=true.");
  // A response with several versions has no single revision to compare.
  const problem = preconditionProblem(request.headers, method, false);
  if (problem !== undefined) throw problem;
  const named = namedIfStale(call);
  const { versions, cursor } = await call.api.history(key, { ...query, admit, onAsOf: named?.onAsOf });
  named?.name();
  if (versions.length === 0 && query.cursor === undefined) throw absent(key);
  return page(url, versionsJson(versions), cursor);
}

async function write(call: WriteCall, key: DocumentKey, operation: TxOperation): Promise<HttpAnswer> {
  const { api } = call;
  const required = requiredRevision(call.request);
  const ops: TxOperation[] = [operation];
  if (required !== undefined) ops.unshift(["match", key.bucket, `${key.namespace}/${key.name}`, required]);
  const { txId, result } = await submit(call, { ops }).catch((error: unknown) => {
    if (!isCairnError(error, "TX_INVALID")) throw error;
    // The client did not send a transaction.
    const problem = error.message.replace(/^Not a valid transaction: ops\[\d+\]: /, "");
    const hint = "Correct the document, and send it again. Nothing was stored.";
    throw badBody(`The document cannot be stored: ${problem}`, hint);
  });
  if (result === undefined) return jsonAnswer({ txId }, {}, 202);
  const { outcome, replaced } = result;
  const { committed, reason } = outcome;
  if (!committed) throw lostBecause(reason);
  let existed = replaced === undefined ? null : replaced > 0;
  if (existed === null) {
    // A stale read suffices, because this node has already applied the write. A policy may have removed that version.
    const reading = api.get(key, { asOf: { txId: txId - 1 }, stale: true });
    const before = await unlessFailed(reading, "WATCH_COMPACTED", null);
    existed = before === null ? null : before !== undefined;
  }
  const isPut = operation[0] === "put";
  const isNew = isPut && existed === false;
  const headers = {
    "cairn-tx": txId,
    ...(isPut ? { etag: etag(txId) } : {}),
    ...(isNew ? { location: documentUrl(key) } : {}),
  };
  return jsonAnswer({ txId, existed }, headers, isNew ? 201 : 200);
}

function absent({ bucket, namespace, name }: DocumentKey): CairnError {
  return new CairnError(
    "NOT_FOUND",
    `There is no ${JSON.stringify(`${namespace}/${name}`)} in ${bucket}.`,
    `List the documents (cairn list ${bucket}, or GET /api/v1/${bucket}?namespace=…).`,
  );
}
