import { type ErrorCode } from "@cairn/kv";
import { statusOf } from "../answers/error-response.ts";
import { PROBLEM_TYPE } from "../answers/problem.ts";
import type { OpenApiObject } from "./schema-parts.ts";

/** Parameters in the query, by name: the schema, what it is for, and whether it has to be there. */
export type QueryParameters = Readonly<
  Record<string, readonly [schema: OpenApiObject, description: string, required?: true]>
>;

/** A success: what it means, its body and its headers. */
export interface Success {
  readonly status: number;
  readonly description: string;
  /** Left out where there is no body. An operation has one schema for all its successes: generated clients read each with the first. */
  readonly schema?: OpenApiObject;
  /** What exactly this one answers, where `schema` says less because it is also that of others. */
  readonly exact?: OpenApiObject;
  /** `application/json` when left out. */
  readonly mediaType?: string;
  readonly headers?: readonly HeaderName[];
}

/** Schemas by media type; generators of clients that do not know several take the first. */
export type Content = Readonly<Record<string, OpenApiObject>>;

const JSON_BODY = "application/json";

/** JSON alone. */
export function json(schema: OpenApiObject): Content {
  return { [JSON_BODY]: schema };
}

/** What one method at one address does. */
export interface Operation {
  readonly method: "get" | "put" | "post" | "delete";
  /** With the parameters of the path as `{name}`. */
  readonly path: string;
  /** The schemas of those that are not any text. */
  readonly inPath?: OpenApiObject;
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  readonly query?: QueryParameters;
  readonly requestHeaders?: readonly HeaderName[];
  readonly body?: Content;
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
  ETag: [{ type: "string" }, 'The revision in quotes, such as "7"; W/"7" where the answer is compressed.'],
  Link: [{ type: "string" }, 'The address of the next page, with rel="next", while there is more.'],
  Location: [{ type: "string" }, "The address of the new document."],
  "If-Match": [{ type: "string" }, 'Only at one of these revisions (`"7"`), or `*`: only if it is there.'],
  "If-None-Match": [
    { type: "string" },
    "`*`: only if it is not there; on GET, 304 for a revision that the client has.",
  ],
  "Last-Event-ID": [
    { type: "string", pattern: "^[0-9]{0,15}$" },
    "Goes before `from`, unless it is empty: browsers send it when they connect again.",
  ],
} as const satisfies Readonly<Record<string, readonly [OpenApiObject, string]>>;

/** Any request may meet these. */
const EVERYWHERE: NonNullable<Operation["errors"]> = [
  "REQUEST_INVALID",
  "UNAUTHORIZED",
  ["UNAUTHORIZED", 403],
  "INTERNAL",
];

/** So may any that could have a body, whether it needs one or not. */
const WITH_A_BODY: NonNullable<Operation["errors"]> = [
  "TX_INVALID",
  ["REQUEST_INVALID", 415],
  "TX_TOO_LARGE",
];

/** An operation as OpenAPI writes it; `isExact`: with what each success exactly has. */
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
    open,
  } = operation;
  const parameters = [
    ...Array.from(path.matchAll(/\{(\w+)\}/g), ([, name = ""]) => ({
      in: "path",
      name,
      required: true,
      schema: inPath[name] ?? { type: "string" },
    })),
    ...Object.entries(query).map(([name, [schema, description, required]]) => ({
      in: "query",
      name,
      ...(required === undefined ? {} : { required }),
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
      ...failures([...EVERYWHERE, ...(method === "get" ? [] : WITH_A_BODY), ...errors]),
    },
    ...(open === true ? { security: [] } : {}),
  };
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
        content: content({
          ...json({ $ref: "#/components/schemas/Error" }),
          [PROBLEM_TYPE]: { $ref: "#/components/schemas/Problem" },
        }),
      },
    ]),
  );
}
