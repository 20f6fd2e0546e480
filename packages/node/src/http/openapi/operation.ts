import { type ErrorCode } from "@cairn/kv";
import { statusOf } from "../answers/error-response.ts";

/** A part of an OpenAPI document, or a JSON Schema in one. */
export type OpenApiObject = { readonly [name: string]: unknown };

/** A parameter in the query, by name: its schema and what it is for. */
export type QueryParameters = Readonly<Record<string, readonly [schema: OpenApiObject, description: string]>>;

/** A success: what it means, its body and its headers. */
export interface Success {
  readonly status: number;
  readonly description: string;
  /** Left out where there is no body. */
  readonly schema?: OpenApiObject;
  /** `application/json` when left out. */
  readonly mediaType?: string;
  readonly headers?: readonly HeaderName[];
}

/** What one method at one address does. */
export interface Operation {
  readonly method: "get" | "put" | "post" | "delete";
  /** With the parameters of the path as `{name}`. */
  readonly path: string;
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  readonly query?: QueryParameters;
  readonly requestHeaders?: readonly HeaderName[];
  readonly body?: { readonly schema: OpenApiObject; readonly mediaType?: string };
  readonly answers: readonly Success[];
  /** Besides those of every operation. */
  readonly errors?: readonly (ErrorCode | readonly [ErrorCode, status: number])[];
  /** Without a token, also where one is asked for. */
  readonly open?: true;
}

/** Headers that mean something here. */
export type HeaderName = keyof typeof HEADERS;

const HEADERS = {
  "Cairn-Tx": [{ type: "integer", format: "int64" }, "The transaction that the answer is of."],
  ETag: [{ type: "string" }, 'The revision in quotes, such as "7".'],
  Link: [{ type: "string" }, 'The address of the next page, with rel="next", while there is more.'],
  Location: [{ type: "string" }, "The address of the new document."],
  "If-Match": [{ type: "string" }, 'Only at one of these revisions (`"7"`), or `*`: only if it is there.'],
  "If-None-Match": [
    { type: "string" },
    "`*`: only if it is not there; on GET, 304 for a revision that the client has.",
  ],
  "Last-Event-ID": [{ type: "string" }, "Goes before `from`: browsers send it when they connect again."],
} as const satisfies Readonly<Record<string, readonly [OpenApiObject, string]>>;

/** Any request may meet these. */
const EVERYWHERE: NonNullable<Operation["errors"]> = [
  "TX_INVALID",
  "UNAUTHORIZED",
  ["UNAUTHORIZED", 403],
  "INTERNAL",
];

/** So may any that could have a body, whether it needs one or not. */
const WITH_A_BODY: NonNullable<Operation["errors"]> = [["TX_INVALID", 415], "TX_TOO_LARGE"];

/** An operation as OpenAPI writes it. */
export function describeOperation(operation: Operation): OpenApiObject {
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
    open,
  } = operation;
  const parameters = [
    ...Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => ({ ...PATH, name })),
    ...Object.entries(query).map(([name, [schema, description]]) => ({
      in: "query",
      name,
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
      ...Object.fromEntries(answers.map(success)),
      ...failures([...EVERYWHERE, ...(method === "get" ? [] : WITH_A_BODY), ...errors]),
    },
    ...(open === true ? { security: [] } : {}),
  };
}

const PATH = { in: "path", required: true, schema: { type: "string" } };

function header(name: HeaderName): OpenApiObject {
  const [schema, description] = HEADERS[name];
  return { schema, description };
}

function success({ status, description, schema, mediaType, headers = [] }: Success): [string, OpenApiObject] {
  const answer = {
    description,
    headers: Object.fromEntries(headers.map((name) => [name, header(name)])),
    ...(schema === undefined
      ? {}
      : { content: content({ schema, ...(mediaType === undefined ? {} : { mediaType }) }) }),
  };
  return [String(status), answer];
}

function content({ schema, mediaType = "application/json" }: NonNullable<Operation["body"]>): OpenApiObject {
  return { [mediaType]: { schema } };
}

/** One answer a status, each naming the codes that it may come with. */
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
        content: content({ schema: { $ref: "#/components/schemas/Error" } }),
      },
    ]),
  );
}
