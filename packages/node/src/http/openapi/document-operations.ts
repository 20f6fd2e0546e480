import {
  DOCUMENT_PARAMETERS,
  DOCUMENT_PATH,
  KEY_PARAMETERS,
  LIST_PARAMETERS,
  WRITE_PARAMETERS,
} from "../requests/parameters.ts";
import { array, ref } from "../requests/schema-parts.ts";
import { found, json, type Operation, READ_ERRORS, SUBMIT_ERRORS, written } from "./operation.ts";

const READ_DOCUMENT = {
  method: "get",
  tag: "documents",
  inPath: DOCUMENT_PATH,
  requestHeaders: ["If-Match", "If-None-Match"],
  query: DOCUMENT_PARAMETERS,
  answers: [
    ...found("The document, or its versions.", ref("Json"), ["ETag", "Link"]),
    { status: 304, description: "The client already has this revision.", headers: ["ETag"] },
  ],
  errors: [...READ_ERRORS, "NOT_FOUND", "WATCH_COMPACTED", "OUTCOME_REMOVED", ["CONFLICT", 412]],
} as const satisfies Partial<Operation>;
const WRITTEN = written(ref("Written"), ref("Indexed"), ["Cairn-Tx", "ETag"]);
const WRITE_DOCUMENT = {
  tag: "documents",
  inPath: DOCUMENT_PATH,
  requestHeaders: ["If-Match", "If-None-Match"],
  query: WRITE_PARAMETERS,
  errors: [...SUBMIT_ERRORS, "CONFLICT", ["CONFLICT", 412], "NOT_FOUND"],
} as const satisfies Partial<Operation>;
const PUT_DOCUMENT = {
  ...WRITE_DOCUMENT,
  method: "put",
  body: json(ref("Json")),
  answers: [
    ...WRITTEN,
    {
      status: 201,
      description: "The document is new and has been indexed.",
      schema: ref("Written"),
      exact: ref("Indexed"),
      headers: ["Cairn-Tx", "ETag", "Location"],
    },
  ],
} as const satisfies Partial<Operation>;
const DELETE_DOCUMENT = {
  ...WRITE_DOCUMENT,
  method: "delete",
  answers: WRITTEN,
} as const satisfies Partial<Operation>;

const BUCKET = "/api/v1/{bucket}";
const BY_KEY = "/api/v1/buckets/{bucket}/document";
const IN_DEFAULT = "/api/v1/{bucket}/{name}";
const IN_NAMESPACE = "/api/v1/{bucket}/{namespace}/{name}";

/** The operations on documents, whose addresses are all those that belong to no other resource. */
export const DOCUMENT_OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: BUCKET,
    id: "listDocuments",
    tag: "documents",
    summary: "List a bucket in key order.",
    inPath: DOCUMENT_PATH,
    query: LIST_PARAMETERS,
    answers: found("The documents.", array(ref("Document")), ["Cairn-Tx", "Link"]),
    errors: [...READ_ERRORS, "NOT_FOUND", "WATCH_COMPACTED", "OUTCOME_REMOVED"],
  },
  {
    ...READ_DOCUMENT,
    path: BY_KEY,
    id: "getDocumentByKey",
    summary: "Read the document `key`, such as one whose name has dot segments, which a path cannot contain.",
    query: { ...DOCUMENT_PARAMETERS, ...KEY_PARAMETERS },
  },
  {
    ...PUT_DOCUMENT,
    path: BY_KEY,
    id: "putDocumentByKey",
    summary: "Write the document `key`.",
    query: { ...WRITE_PARAMETERS, ...KEY_PARAMETERS },
  },
  {
    ...DELETE_DOCUMENT,
    path: BY_KEY,
    id: "deleteDocumentByKey",
    summary: "Delete the document `key`.",
    query: { ...WRITE_PARAMETERS, ...KEY_PARAMETERS },
  },
  { ...READ_DOCUMENT, path: IN_NAMESPACE, id: "getDocument", summary: "Read a document." },
  { ...PUT_DOCUMENT, path: IN_NAMESPACE, id: "putDocument", summary: "Write a document." },
  { ...DELETE_DOCUMENT, path: IN_NAMESPACE, id: "deleteDocument", summary: "Delete a document." },
  {
    ...READ_DOCUMENT,
    path: IN_DEFAULT,
    id: "getDefaultDocument",
    summary: "Read a document in the namespace `default`.",
  },
  {
    ...PUT_DOCUMENT,
    path: IN_DEFAULT,
    id: "putDefaultDocument",
    summary: "Write a document in the namespace `default`.",
  },
  {
    ...DELETE_DOCUMENT,
    path: IN_DEFAULT,
    id: "deleteDefaultDocument",
    summary: "Delete a document in the namespace `default`.",
  },
];
