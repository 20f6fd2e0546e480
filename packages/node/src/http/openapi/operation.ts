import { type ErrorCode } from "@cairn/kv";
import { PROBLEM_TYPE } from "../answers/error-answer.ts";
import { statusOf } from "../answers/request-error.ts";
import { ROUTE_RIGHTS, type RouteRight } from "../permits/route-rights.ts";
import type { QueryParameters } from "../requests/parameters.ts";
import { TAGS_PATTERN } from "../requests/preconditions.ts";
import { type OpenApiObject, ref, TEXT } from "../requests/schema-parts.ts";

/** A successful response: its meaning, body and headers. */
export interface Success {
  readonly status: number;
  readonly description: string;
  /** The same for all successful responses of an operation, because generated clients parse each with the first one. */
  readonly schema?: OpenApiObject;
  /**
   * The exact schema of this response, if `schema` is more general in order to cover the operation's other responses as
   * well.
   */
  readonly exact?: OpenApiObject;
  /** The body's media type. Defaults to `application/json`. */
  readonly mediaType?: string;
  readonly headers?: readonly HeaderName[];
}

/** Schemas by media type. Client generators that support only one media type use the first. */
export type Content = Readonly<Record<string, OpenApiObject>>;

const JSON_BODY = "application/json";

export function json(schema: OpenApiObject): Content {
  return { [JSON_BODY]: schema };
}

/** Returns the only successful response to a read: 200 with a JSON body of `schema`. */
export function found(
  description: string,
  schema: OpenApiObject,
  headers: readonly HeaderName[] = [],
): Success[] {
  return [{ status: 200, description, schema, headers }];
}

/** The responses are `status` with the schema `exact` once the write is indexed, and 202 once it is in the log. */
export function written(
  schema: OpenApiObject,
  exact: OpenApiObject,
  headers: readonly HeaderName[],
  status = 200,
  submitted: OpenApiObject = ref("Submitted"),
): Success[] {
  return [
    { status, description: "Indexed.", schema, exact, headers },
    { status: 202, description: "The write is in the log.", schema, exact: submitted },
  ];
}

export interface Operation {
  readonly method: "get" | "put" | "post" | "delete";
  /** The path, with parameters as `{name}`. */
  readonly path: string;
  /** The schemas of path parameters that are not arbitrary strings. */
  readonly inPath?: OpenApiObject;
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  readonly query?: QueryParameters;
  readonly requestHeaders?: readonly HeaderName[];
  readonly body?: Content;
  readonly answers: readonly Success[];
  /** The errors of this operation, in addition to those of every operation. */
  readonly errors?: readonly (ErrorCode | readonly [ErrorCode, status: number])[];
  /** True if a ticket in the query may replace the token. */
  readonly acceptsTicket?: true;
}

/** The name of a header in {@link HEADERS}. */
export type HeaderName = keyof typeof HEADERS;

const HEADERS = {
  "Cairn-Tx": [{ type: "integer", format: "int64" }, "The transaction as of which the response is valid."],
  ETag: [TEXT, 'The revision in quotes, such as "7"; W/"7" if the response is compressed.'],
  Link: [TEXT, 'The address of the next page with rel="next", if there is one.'],
  Location: [TEXT, "The address of the new document."],
  "If-Match": [
    { ...TEXT, pattern: TAGS_PATTERN, minLength: 1 },
    'The request is carried out only if the resource is at one of these revisions (`"7"`) or, with `*`, only if it exists.',
  ],
  "If-None-Match": [
    { ...TEXT, pattern: TAGS_PATTERN, minLength: 1 },
    "With `*`, the request is carried out only if the resource does not exist. On GET, the response is 304 for a revision that the client has.",
  ],
  "Last-Event-ID": [
    { ...TEXT, pattern: "^[0-9]{0,15}$" },
    "Overrides `from` unless it is empty. Browsers send it when they reconnect.",
  ],
} as const satisfies Readonly<Record<string, readonly [OpenApiObject, string]>>;

const ANY_REQUEST: NonNullable<Operation["errors"]> = [
  "REQUEST_INVALID",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "INTERNAL",
  // The request is late, expects something, has too many headers, or has an unknown transfer coding.
  ...[408, 417, 431, 501].map((status): readonly [ErrorCode, number] => ["REQUEST_INVALID", status]),
];

/** The errors of every operation that may have a body, whether it requires one or not. */
const ANY_BODY: NonNullable<Operation["errors"]> = ["TX_INVALID", ["REQUEST_INVALID", 415], "TX_TOO_LARGE"];

/** The errors of reads and writes. They include those of the log, because a linearizable read appends to it. */
const INDEX_ERRORS = [
  "NOT_READY",
  "OVERLOADED",
  "INDEX_CORRUPT",
  "SYSTEM_REFUSED",
  "TX_TIMEOUT",
  "LOG_UNREACHABLE",
  "LOG_REGRESSED",
  "LOG_DIFFERENT",
  "LOG_FULL",
] as const;
export const READ_ERRORS = [...INDEX_ERRORS, ["LOG_READ_ONLY", 421]] as const;
export const SUBMIT_ERRORS = [...INDEX_ERRORS, "LOG_READ_ONLY", "DISK_FULL"] as const;

/** Returns an operation as an OpenAPI object, with the exact schema of each success if `isExact`. */
export function describeOperation(operation: Operation, isExact: boolean): OpenApiObject {
  const {
    method,
    id,
    tag,
    summary,
    query = {},
    requestHeaders = [],
    body,
    answers,
    errors = [],
    path,
    inPath = {},
    acceptsTicket,
  } = operation;
  const right = rightOf(method, path);
  const parameters = [
    ...Array.from(path.matchAll(/\{(\w+)\}/g), ([, name = ""]) => ({
      in: "path",
      name,
      required: true,
      schema: inPath[name] ?? TEXT,
    })),
    ...Object.entries(query).map(([name, { schema, description, isRequired }]) => ({
      in: "query",
      name,
      ...(isRequired === undefined ? {} : { required: isRequired }),
      schema,
      description,
    })),
    ...requestHeaders.map((name) => ({ in: "header", name, ...header(name) })),
  ];
  return {
    operationId: id,
    tags: [tag],
    summary,
    parameters,
    ...(body === undefined ? {} : { requestBody: { required: true, content: content(body) } }),
    responses: {
      ...Object.fromEntries(answers.map((answer) => success(answer, isExact))),
      ...failures([
        ...ANY_REQUEST,
        ...(method === "get" ? [] : ANY_BODY),
        // Addresses of other resources have this form as well, and do not support every method.
        ...(path.startsWith("/api/v1/{bucket}") ? (["METHOD_NOT_ALLOWED"] as const) : []),
        ...errors,
      ]),
    },
    ...(right === "none" ? { security: [] } : { "x-right": right }),
    ...(acceptsTicket === true ? { security: [{ token: [] }, { ticket: [] }, {}] } : {}),
  };
}

function rightOf(method: Operation["method"], path: string): RouteRight {
  const isDocument = path.startsWith("/api/v1/{bucket}/");
  const route = isDocument ? "/api/v1/*" : path.replaceAll(/\{(\w+)\}/g, ":$1");
  const right = ROUTE_RIGHTS[`${method.toUpperCase()} ${route}`];
  if (right === undefined) throw new Error(`${method} ${path} has no right.`);
  return right;
}

function header(name: HeaderName): OpenApiObject {
  const [schema, description] = HEADERS[name];
  return { schema, description };
}

function success(
  { status, description, schema, exact, mediaType = JSON_BODY, headers = [] }: Success,
  isExact: boolean,
): [string, OpenApiObject] {
  const answered = isExact ? (exact ?? schema) : schema;
  const answer = {
    description,
    headers: Object.fromEntries(headers.map((name) => [name, header(name)])),
    ...(answered === undefined ? {} : { content: content({ [mediaType]: answered }) }),
  };
  return [String(status), answer];
}

function content(schemas: Content): OpenApiObject {
  return Object.fromEntries(Object.entries(schemas).map(([mediaType, schema]) => [mediaType, { schema }]));
}

/** Returns one response for each status; its description lists the codes. */
function failures(errors: NonNullable<Operation["errors"]>): OpenApiObject {
  const byStatus = new Map<number, Set<ErrorCode>>();
  for (const error of errors) {
    const [code, status] = typeof error === "string" ? [error, statusOf(error)] : error;
    byStatus.set(status, (byStatus.get(status) ?? new Set()).add(code));
  }
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      String(status),
      {
        description: [...codes].map((code) => `\`${code}\``).join(", "),
        content: content({
          ...json(ref("Error")),
          [PROBLEM_TYPE]: ref("Problem"),
        }),
      },
    ]),
  );
}
