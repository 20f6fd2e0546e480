import type { QueryParameters } from "./operation.ts";
import { AS_OF_PATTERN, KEY_PATTERN, WHERE_PATTERN } from "../requests/text-patterns.ts";
import { MAX_FIELDS } from "../../policies/policy-problems.ts";
import { MAX_NAME, MAX_NAMESPACE } from "../../text/document-key.ts";
import { array, FLAG, text, TEXT } from "./schema-parts.ts";
import { BUCKET, DURATION, NAMESPACE, ref } from "./schemas.ts";

/** How many. */
export const LIMIT = { type: "integer", minimum: 1, maximum: 1000 } as const;
/** A transaction or a time. */
const AS_OF = { type: "string", pattern: AS_OF_PATTERN, example: "2026-11-20T06:12:26.123Z" };
const AS_OF_WORDS = "As it was: a transaction's id, or an ISO-8601 time such as 2026-11-20T06:12:26.123Z.";
/** What only a node can have given. */
const CURSOR = { type: "string", format: "cursor" };

/** The parts of a document's address. */
export const IN_PATH = { bucket: BUCKET, namespace: NAMESPACE, name: text(MAX_NAME, 1) };

/** What every read takes. */
export const READ: QueryParameters = {
  "min-tx": [ref("TxId"), "Wait until this node has indexed that transaction."],
  stale: [FLAG, "Answer from what is there though the node is not ready."],
  linearizable: [
    FLAG,
    "Include everything that any node acknowledged before this request, by way of a barrier in the log. Not together with `stale`.",
  ],
  timeout: [DURATION, "How long to wait (ISO-8601 or milliseconds): 30 s by default, an hour at most."],
};
/** What every write takes. */
export const WRITE: QueryParameters = {
  await: [FLAG, "Whether to answer when it is indexed (200), or once the log has it (202)."],
  timeout: [DURATION, "How long to wait (ISO-8601 or milliseconds): 30 s by default, an hour at most."],
};
/** A document by a parameter. */
export const KEY: QueryParameters = {
  key: [
    { ...text(MAX_NAMESPACE + 1 + MAX_NAME, 1), pattern: KEY_PATTERN },
    "`namespace/name`; a name alone is in the namespace `default`.",
    true,
  ],
};
/** What every list takes. */
export const PAGE: QueryParameters = {
  limit: [LIMIT, "At most so many, 100 where it is left out."],
  cursor: [CURSOR, "From the Link of the page before."],
};
/** What a list of documents takes. */
export const LIST: QueryParameters = {
  ...READ,
  ...PAGE,
  namespace: [NAMESPACE, "Only of this namespace."],
  prefix: [TEXT, "Only names that begin with it."],
  "as-of": [AS_OF, AS_OF_WORDS],
  where: [
    {
      ...array({ type: "string", format: "indexed-field", pattern: WHERE_PATTERN }),
      minItems: 1,
      maxItems: MAX_FIELDS,
    },
    "`field:value` of an indexed field; of several, given one after the other, all have to hold.",
  ],
};
/** What a document takes. */
export const DOCUMENT: QueryParameters = {
  ...READ,
  ...PAGE,
  "as-of": [AS_OF, AS_OF_WORDS],
  history: [FLAG, "The versions, newest first, as a list; with `limit` and `cursor`, without `as-of`."],
};

/** What every read may meet: a linearizable one appends to the log. */
export const READ_ERRORS = [
  "NOT_READY",
  "INDEX_CORRUPT",
  "SYSTEM_REFUSED",
  "TX_TIMEOUT",
  "LOG_UNREACHABLE",
  "LOG_REGRESSED",
  "LOG_DIFFERENT",
  "LOG_FULL",
] as const;
/** What every write may meet. */
export const SUBMIT_ERRORS = [...READ_ERRORS, "DISK_FULL"] as const;
