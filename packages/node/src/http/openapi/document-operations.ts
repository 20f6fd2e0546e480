import { json, type Operation } from "./operation.ts";
import { DOCUMENT, IN_PATH, KEY, LIST, READ_ERRORS, SUBMIT_ERRORS, WRITE } from "./parameters.ts";
import { array } from "./schema-parts.ts";
import { ref } from "./schemas.ts";

const UNCHANGED = {
  status: 304,
  description: "The client has this revision already.",
  headers: ["ETag"],
} as const;
const READ_DOCUMENT = {
  method: "get",
  tag: "documents",
  inPath: IN_PATH,
  requestHeaders: ["If-Match", "If-None-Match"],
  query: DOCUMENT,
  answers: [
    {
      status: 200,
      description: "The document, or its versions.",
      schema: ref("Json"),
      headers: ["ETag", "Link"],
    },
    UNCHANGED,
  ],
  errors: [...READ_ERRORS, "NOT_FOUND", "WATCH_COMPACTED", ["CONFLICT", 412]],
} as const satisfies Partial<Operation>;
const WRITTEN = [
  {
    status: 200,
    description: "Indexed.",
    schema: ref("Written"),
    exact: ref("Indexed"),
    headers: ["Cairn-Tx", "ETag"],
  },
  { status: 202, description: "In the log.", schema: ref("Written"), exact: ref("Submitted") },
] as const satisfies Operation["answers"];
const WRITE_DOCUMENT = {
  tag: "documents",
  inPath: IN_PATH,
  requestHeaders: ["If-Match", "If-None-Match"],
  query: WRITE,
  errors: [...SUBMIT_ERRORS, ["CONFLICT", 412], "NOT_FOUND"],
} as const satisfies Partial<Operation>;
const PUT_DOCUMENT = {
  ...WRITE_DOCUMENT,
  method: "put",
  body: json(ref("Json")),
  answers: [
    ...WRITTEN,
    {
      status: 201,
      description: "Indexed, and new.",
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

/** Documents: addresses that nothing else has. */
export const DOCUMENT_OPERATIONS: readonly Operation[] = [
  {
    method: "get",
    path: BUCKET,
    id: "listDocuments",
    tag: "documents",
    summary: "List a bucket in key order.",
    inPath: IN_PATH,
    query: LIST,
    answers: [
      {
        status: 200,
        description: "The documents.",
        schema: array(ref("Document")),
        headers: ["Cairn-Tx", "Link"],
      },
    ],
    errors: [...READ_ERRORS, "NOT_FOUND", "WATCH_COMPACTED"],
  },
  {
    ...READ_DOCUMENT,
    path: BY_KEY,
    id: "getDocumentByKey",
    summary: "Read the document `key`: names with dot segments cannot stand in a path.",
    query: { ...DOCUMENT, ...KEY },
  },
  {
    ...PUT_DOCUMENT,
    path: BY_KEY,
    id: "putDocumentByKey",
    summary: "Write the document `key`.",
    query: { ...WRITE, ...KEY },
  },
  {
    ...DELETE_DOCUMENT,
    path: BY_KEY,
    id: "deleteDocumentByKey",
    summary: "Delete the document `key`.",
    query: { ...WRITE, ...KEY },
  },
  { ...READ_DOCUMENT, path: IN_NAMESPACE, id: "getDocument", summary: "Read a document." },
  { ...PUT_DOCUMENT, path: IN_NAMESPACE, id: "putDocument", summary: "Write a document." },
  { ...DELETE_DOCUMENT, path: IN_NAMESPACE, id: "deleteDocument", summary: "Delete a document." },
  {
    ...READ_DOCUMENT,
    path: IN_DEFAULT,
    id: "getDefaultDocument",
    summary: "Read a document of the namespace `default`.",
  },
  {
    ...PUT_DOCUMENT,
    path: IN_DEFAULT,
    id: "putDefaultDocument",
    summary: "Write a document of the namespace `default`.",
  },
  {
    ...DELETE_DOCUMENT,
    path: IN_DEFAULT,
    id: "deleteDefaultDocument",
    summary: "Delete a document of the namespace `default`.",
  },
];
