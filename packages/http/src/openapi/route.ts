import type { Right } from "@cairn/client/protocol";
import type { ErrorCode } from "@cairn/kv";
import type { HttpAnswer } from "../answers/answer.ts";
import type { Call, Concern } from "../permits/call.ts";
import type { Query } from "../requests/address.ts";
import type { QueryParameters } from "../requests/parameters.ts";
import { POSITION_PATTERN } from "@cairn/text";
import { ABSENT_PATTERN, REVISION_PATTERN, TAGS_PATTERN } from "../requests/preconditions.ts";
import { type OpenApiObject, POSITION, TEXT } from "../requests/schema-parts.ts";

/** An operation of the server: everything about it that requests, rights, metrics and the OpenAPI document depend on. */
export interface Declared<P extends QueryParameters = QueryParameters> {
  /** Routes with GET also handle HEAD. */
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  readonly path: string;
  /** The name in metrics and messages. Defaults to the path with parameters as `:name`. */
  readonly label?: string;
  /** The right that a token must have. `none` means that not even a token is required. */
  readonly right: Right | "none";
  readonly concerns: Concern<Query<P>>;
  /** The id in the OpenAPI document, which does not describe routes without one. */
  readonly id?: string;
  readonly tag?: "node" | "documents" | "transactions" | "events" | "policies" | "queues" | "checkpoints";
  readonly summary?: string;
  /** The schemas of path parameters that are not arbitrary strings. */
  readonly inPath?: OpenApiObject;
  /** All other parameters are rejected. Defaults to none. */
  readonly query?: P;
  /** Preconditions are rejected unless they are listed here. */
  readonly requestHeaders?: readonly HeaderName[];
  /** The media types with their schemas. If there is JSON, a body is required. */
  readonly body?: Content;
  /** Called with the JSON text before the body is checked. An error that it throws is sent as the response. */
  readonly onBody?: (json: string) => void;
  /** Throws for an address of this form at which there is nothing. Such an error precedes those of query and body. */
  readonly checkUrl?: (url: string) => unknown;
  /** True if the route reads lines of JSON from the request itself. */
  readonly readsLines?: true;
  readonly answers?: readonly Success[];
  /** The errors of this operation, in addition to those of every operation. */
  readonly errors?: readonly (ErrorCode | readonly [ErrorCode, status: number])[];
  /** The headers that responses with an error may have, by their statuses. */
  readonly errorHeaders?: Readonly<Record<number, readonly HeaderName[]>>;
  handle(call: Call<Query<P>>): HttpAnswer | Promise<HttpAnswer>;
}

/** A declared route, and what follows from its declaration for every request. */
export interface Route extends Declared {
  readonly label: string;
}

/** Checks the declaration of a route, and infers the types of its parameters. */
export function route<P extends QueryParameters = Record<never, never>>(declared: Declared<P>): Route {
  const label = declared.label ?? declared.path.replaceAll(/\{(\w+)\}/g, ":$1");
  return { ...(declared as unknown as Declared), label };
}

export interface Success {
  readonly status: number;
  readonly description: string;
  /** The same for all successful responses of an operation, because generated clients parse each with the first one. */
  readonly schema?: OpenApiObject;
  /** The body's media type. Defaults to `application/json`. */
  readonly mediaType?: string;
  readonly headers?: readonly HeaderName[];
}

/** Schemas by media type. Client generators that support only one media type use the first. */
export type Content = Readonly<Record<string, OpenApiObject>>;

export const JSON_BODY = "application/json";

export function jsonOf(schema: OpenApiObject): Content {
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

/** The responses are `status` once the write is indexed, and 202 once it is in the log. */
export function written(schema: OpenApiObject, headers: readonly HeaderName[], status = 200): Success[] {
  return [
    { status, description: "Indexed.", schema, headers },
    { status: 202, description: "The write is in the log.", schema },
  ];
}

export type HeaderName = keyof typeof HEADERS;

export const HEADERS = {
  "Cairn-Tx": [{ type: "integer", format: "int64" }, "The transaction as of which the response is valid."],
  "Cairn-Position": [POSITION, "The position of that transaction, from which a watch continues a list."],
  ETag: [TEXT, 'The revision in quotes, such as "7".'],
  Link: [TEXT, 'The address of the next page with rel="next", if there is one.'],
  Location: [TEXT, "The address of the new document."],
  "If-Match": [
    { ...TEXT, pattern: TAGS_PATTERN, minLength: 1 },
    'The request is carried out only if the resource is at one of these revisions (`"7"`) or, with `*`, exists.',
  ],
  "If-None-Match": [
    { ...TEXT, pattern: TAGS_PATTERN, minLength: 1 },
    'The response is 304 if the resource is at one of these revisions (`"7"`), which the client has.',
  ],
  "Last-Event-ID": [
    { ...POSITION, pattern: `^$|${POSITION_PATTERN}` },
    "Overrides `from` unless it is empty. Browsers send it when they reconnect.",
  ],
} as const satisfies Readonly<Record<string, readonly [OpenApiObject, string]>>;

/** Those that writes accept in another form. */
export const HEADERS_OF_WRITES: Partial<Readonly<Record<HeaderName, readonly [OpenApiObject, string]>>> = {
  "If-Match": [
    { ...TEXT, pattern: REVISION_PATTERN },
    'The request is carried out only if the resource is at this revision (`"7"`).',
  ],
  "If-None-Match": [
    { ...TEXT, pattern: ABSENT_PATTERN },
    "With `*`, the request is carried out only if the resource does not exist. Cannot be combined with `If-Match`.",
  ],
};

export const PRECONDITIONS = ["If-Match", "If-None-Match"] as const;

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
