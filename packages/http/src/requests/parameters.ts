import { LIMITS } from "@cairn/client/protocol";
import { Duration } from "luxon";
import { FIELD_CONDITION, type FieldQuery, parseFieldQuery } from "@cairn/engine";
import {
  BUCKET_PATTERN,
  MAX_BUCKET,
  MAX_NAME,
  MAX_NAMESPACE,
  parseDuration,
  parseAsOf,
  parsePosition,
  formatPosition,
  parseTxId,
} from "@cairn/text";
import { badRequest } from "../answers/request-error.ts";
import { array, boundedText, FLAG, type OpenApiObject, POSITION, ref, TEXT, TX_ID } from "./schema-parts.ts";

export interface QueryParameter<Option extends string = string, Value = unknown> {
  /** The name under which the value is passed on. This is usually the name of an option of the node's API. */
  readonly option: Option;
  /** Parses `text`, or throws `REQUEST_INVALID` with the parameter's `name`. */
  readonly parse: (text: string, name: string) => Value;
  readonly schema: OpenApiObject;
  readonly description: string;
  /** What the parameter is, if it is required. */
  readonly required?: string;
  /** True if the parameter may be repeated. In that case `parse` returns an array, and the arrays are concatenated. */
  readonly isRepeatable?: true;
}

export type QueryParameters = Readonly<Record<string, QueryParameter>>;

export function parseFlag(text: string, name: string): boolean {
  if (text === "true") return true;
  if (text === "false") return false;
  throw badRequest(`${name} must be true or false, not ${JSON.stringify(text)}.`);
}

function parseLineNumber(text: string, name: string): number {
  const number = parseTxId(text, name);
  if (number === 0) throw badRequest(`${name} must be at least 1.`);
  return number;
}

function parseLimit(text: string, name: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count >= 1 && count <= LIMITS.pageItems) return count;
  throw badRequest(
    `${name} must be a whole number from 1 to ${LIMITS.pageItems}, not ${JSON.stringify(text)}.`,
  );
}

function parseWhere(text: string, name: string): readonly FieldQuery[] {
  const query = parseFieldQuery(text);
  if (query !== undefined) return [query];
  throw badRequest(
    `${name} must be field:value, such as state:running, or a range, such as age>=18, not ${JSON.stringify(text)}.`,
  );
}

// Clients must also be able to use the patterns. RE2 and Rust's engine have no lookahead, and RE2 supports repetition
// counts only up to 1,000.
const NUMBER = String.raw`[0-9]{1,9}(\.[0-9]{1,9})?`;
const SECONDS = `${NUMBER}S`;
const HOURS_TO_SECONDS = `T(${NUMBER}H(${NUMBER}M)?(${SECONDS})?|${NUMBER}M(${SECONDS})?|${SECONDS})`;
const DAYS = `(${NUMBER}W(${NUMBER}D)?|${NUMBER}D)`;
const ISO_DURATION = `P(${DAYS}(${HOURS_TO_SECONDS})?|${HOURS_TO_SECONDS})`;
const DURATION_PATTERN = `^([0-9]{1,15}|${ISO_DURATION})$`;
const DURATION_REGEXP = new RegExp(DURATION_PATTERN);

export const ISO_DURATION_PATTERN = `^${ISO_DURATION}$`;

const HOUR_MS = 3_600_000;

/** Parses a duration in ISO 8601 or in milliseconds, and returns milliseconds, at most an hour. */
export function parseTimeout(text: string, name: string): number {
  return Math.min(parseMilliseconds(text, name), HOUR_MS);
}

function parseMilliseconds(text: string, name: string): number {
  if (!DURATION_REGEXP.test(text)) {
    const parsed = parseDuration(text, { bare: true });
    throw badRequest(
      `${name} must be a duration, such as PT5S, not ${JSON.stringify(text)}.`,
      "hint" in parsed ? parsed.hint : undefined,
    );
  }
  return Math.ceil(text.startsWith("P") ? Duration.fromISO(text).toMillis() : Number(text));
}

const MIN_HEARTBEAT_MS = 100;

function parseHeartbeat(text: string, name: string): number {
  const heartbeatMs = parseMilliseconds(text, name);
  if (heartbeatMs >= MIN_HEARTBEAT_MS && heartbeatMs <= HOUR_MS) return heartbeatMs;
  throw badRequest(`${name} must be a duration from PT0.1S to PT1H, not ${JSON.stringify(text)}.`);
}

const BUCKET = { ...TEXT, pattern: BUCKET_PATTERN, maxLength: MAX_BUCKET };
const NAMESPACE = { ...boundedText(MAX_NAMESPACE, 1), pattern: "^[^/]+$" };
const DURATION = { ...TEXT, pattern: DURATION_PATTERN, example: "PT5S" };
const LIMIT = { type: "integer", minimum: 1, maximum: LIMITS.pageItems };
const CLOCK = String.raw`T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?`;
const AS_OF = {
  ...TEXT,
  // Nodes also accept a decimal comma, and offsets without a colon or minutes.
  pattern: `^([0-9]{1,16}|[0-9]{4}-[0-9]{2}-[0-9]{2}(${CLOCK})?)$`,
  example: "2026-11-20T06:12:26.123Z",
};
/** The formats of values that only nodes generate, or that only policies define. */
const CURSOR = { ...TEXT, format: "cursor" };
const WHERE = { ...TEXT, format: "indexed-field", pattern: FIELD_CONDITION.source };
const EVENT_PLACE = { ...TEXT, pattern: "^[0-9]{1,19}(-[0-9]{1,16}-[0-9]{1,9})?$" };

const upToMaxName = (one: string): string => `${one}{1,1000}${one}{0,${MAX_NAME - 1_000}}`;
const KEY = {
  ...boundedText(MAX_NAMESPACE + 1 + MAX_NAME, 1),
  pattern: `^(${upToMaxName("[^/]")}|[^/]{1,${MAX_NAMESPACE}}/${upToMaxName(String.raw`[\s\S]`)})$`,
};

function parameter<Option extends string, Value>(
  option: Option,
  [parse, schema]: readonly [(text: string, name: string) => Value, OpenApiObject],
  description: string,
): QueryParameter<Option, Value> {
  return { option, parse, schema, description };
}

const A_FLAG = [parseFlag, FLAG] as const;
const A_TX_ID = [parseTxId, ref("TxId")] as const;

function asText(schema: OpenApiObject) {
  return [(value: string): string => value, schema] as const;
}

const TIMEOUT =
  "How long to wait, as an ISO 8601 duration or in milliseconds: 30 s by default, and at most an hour.";
const timeout = parameter("timeoutMs", [parseTimeout, DURATION], TIMEOUT);
const limit = parameter(
  "limit",
  [parseLimit, LIMIT],
  `The maximum number of items on a page; ${LIMITS.defaultPageItems} by default.`,
);
const namespace = parameter("namespace", asText(NAMESPACE), "Return only items in this namespace.");
const asOf = parameter(
  "asOf",
  [parseAsOf, AS_OF],
  "Return the state at a transaction id, or at an ISO 8601 time such as 2026-11-20T06:12:26.123Z.",
);

export const DOCUMENT_PATH: OpenApiObject = {
  bucket: BUCKET,
  namespace: NAMESPACE,
  name: boundedText(MAX_NAME, 1),
};

export const READ_PARAMETERS = {
  "min-tx": parameter("minTx", A_TX_ID, "Wait until this node has indexed this transaction."),
  stale: parameter("stale", A_FLAG, "Read the index even if the node is not ready."),
  linearizable: parameter(
    "linearizable",
    A_FLAG,
    "Include everything that any node acknowledged before this request, by means of a barrier in the log. Cannot be combined with `stale`.",
  ),
  timeout,
};

export const INDEX_QUERY_PARAMETERS = {
  "min-tx": parameter("minTx", A_TX_ID, "Wait until the index contains this transaction."),
  timeout,
};

export const OUTCOME_PARAMETERS = {
  ...READ_PARAMETERS,
  by: parameter("by", A_FLAG, "Also return the name of the token with which the transaction was submitted."),
};

export const WRITE_PARAMETERS = {
  await: parameter(
    "await",
    A_FLAG,
    "If true, respond once the write is indexed (200); if false, respond once it is in the log (202).",
  ),
  timeout,
};

export const BATCH_PARAMETERS = {
  ...WRITE_PARAMETERS,
  "first-line": parameter(
    "firstLine",
    [parseLineNumber, { ...TX_ID, minimum: 1 }],
    "The number of the first line, as used in errors.",
  ),
};

export const PAGE_PARAMETERS = {
  ...READ_PARAMETERS,
  limit,
  cursor: parameter("cursor", asText(CURSOR), "The cursor in the Link of the previous page."),
};

export const ENTRY_PARAMETERS = {
  ...READ_PARAMETERS,
  name: {
    ...parameter("name", asText(boundedText(MAX_NAME, 1)), "The name of the entry."),
    required: "the name of the entry",
  },
} as const;

const BOUND = { ...TEXT, minLength: 1 };
const BOUND_WORDS =
  "It need not exist. With `namespace`, it is a name; without, `namespace/name`, as in the parameter `key`.";

export const LIST_PARAMETERS = {
  ...PAGE_PARAMETERS,
  namespace,
  prefix: parameter("prefix", asText(TEXT), "Return only names that begin with this prefix."),
  from: parameter(
    "from",
    asText(BOUND),
    `Return only this key and those after it, in key order. ${BOUND_WORDS}`,
  ),
  to: parameter("to", asText(BOUND), `Return only keys before this one, in key order. ${BOUND_WORDS}`),
  "as-of": asOf,
  where: {
    option: "where",
    parse: parseWhere,
    schema: { ...array(WHERE), minItems: 1, maxItems: 2 * LIMITS.fields },
    description:
      "Return only documents with this `field:value` in an indexed field, or with a value in a range: `field>=bound`, also with `>`, `<=` and `<`. May be repeated for several fields, and for both bounds of one, all of which must match.",
    isRepeatable: true,
  },
  order: parameter(
    "order",
    asText({ ...TEXT, format: "field-order", minLength: 1 }),
    "Return the documents in the order of their values in this indexed field, or in reverse if `-` precedes it. By default, this is the field of the first range and, if there is none, the list is in key order.",
  ),
} as const;

export const DOCUMENT_PARAMETERS = {
  ...PAGE_PARAMETERS,
  "as-of": asOf,
  history: parameter(
    "history",
    A_FLAG,
    "Return a list of the versions, newest first. Can be combined with `limit` and `cursor`, but not with `as-of`.",
  ),
};

const KEY_WORDS =
  "The key of the document, `namespace/name`. A name without a namespace is in the namespace `default`.";
export const KEY_PARAMETERS = {
  key: { ...parameter("key", asText(KEY), KEY_WORDS), required: "the namespace/name of the document" },
} as const;

export const EVENT_PARAMETERS = {
  ...PAGE_PARAMETERS,
  bucket: parameter("bucket", asText(TEXT), "Return only events about objects in this bucket."),
  object: parameter("object", asText(TEXT), "Return only events about this object."),
  before: parameter(
    "before",
    asText(EVENT_PLACE),
    "Return only events older than the event with this id, or than a time in nanoseconds since 1970.",
  ),
};

export const WATCH_PARAMETERS = {
  bucket: parameter("bucket", asText(BUCKET), "Send only changes in this bucket."),
  namespace,
  from: parameter(
    "from",
    [(text: string, name: string) => formatPosition(parsePosition(text, name)), POSITION],
    "The position at which to begin, as a list, a watch or an outcome returned it; `0` is the beginning of the log. Defaults to the end of the node's index.",
  ),
  heartbeat: parameter(
    "heartbeatMs",
    [parseHeartbeat, DURATION],
    "The time without an event after which a heartbeat is sent: PT0.1S to PT1H, and PT10S by default.",
  ),
};

export const CLUSTER_PARAMETERS = {
  timeout: parameter(
    "timeoutMs",
    [(value, name) => Math.min(parseTimeout(value, name), LIMITS.clusterWaitMs), DURATION],
    "How long to wait for nodes that do not respond, as an ISO 8601 duration or in milliseconds: 1 s by default, and at most 10 s.",
  ),
};

export const CHECKPOINT_PARAMETERS = {
  await: parameter("await", A_FLAG, "If true, respond only once the checkpoint has been saved."),
};
