import type { QueryParameters } from "./operation.ts";
import { FLAG, TEXT } from "./schema-parts.ts";
import { DURATION, ref } from "./schemas.ts";

/** How many. */
export const LIMIT = { type: "integer", minimum: 1, maximum: 1000 } as const;
/** What `as-of` means. */
export const AS_OF = "As it was: a transaction's id or an ISO-8601 time.";

/** What every read takes. */
export const READ: QueryParameters = {
  "min-tx": [ref("TxId"), "Wait until this node has indexed that transaction."],
  stale: [FLAG, "Answer from what is there though the node is not ready."],
  linearizable: [
    FLAG,
    "Include everything that any node acknowledged before this request, by way of a barrier in the log. Not together with `stale`.",
  ],
  timeout: [DURATION, "How long to wait (ISO-8601 or milliseconds), 30 s by default."],
};
/** What every write takes. */
export const WRITE: QueryParameters = {
  await: [FLAG, "Whether to answer when it is indexed (200), or once the log has it (202)."],
  timeout: [DURATION, "How long to wait, 30 s by default."],
};
/** A document by a parameter. */
export const KEY: QueryParameters = { key: [TEXT, "`namespace/name`, for names with dot segments."] };
/** What every list takes. */
export const PAGE: QueryParameters = {
  limit: [LIMIT, "At most so many, 100 where it is left out."],
  cursor: [TEXT, "From the Link of the page before."],
};
/** What a list of documents takes. */
export const LIST: QueryParameters = {
  ...READ,
  ...PAGE,
  namespace: [TEXT, "Only of this namespace."],
  prefix: [TEXT, "Only names that begin with it."],
  "as-of": [TEXT, AS_OF],
  where: [TEXT, "`field:value` of an indexed field."],
};
/** What a document takes. */
export const DOCUMENT: QueryParameters = {
  ...READ,
  ...PAGE,
  "as-of": [TEXT, AS_OF],
  history: [FLAG, "The versions, newest first, as a list."],
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
