import { type ErrorCode } from "@cairn/kv";
import { statusOf } from "../answers/request-error.ts";
import { type OpenApiObject, ref, TEXT } from "../requests/schema-parts.ts";
import {
  type Content,
  type HeaderName,
  HEADERS,
  HEADERS_OF_WRITES,
  JSON_BODY,
  jsonOf,
  type Route,
  type Success,
} from "./route.ts";
import { SCHEMAS } from "./schemas.ts";

const SECURITY_SCHEMES = {
  token: { type: "http", scheme: "bearer", description: "One of the node's tokens." },
};

/** Describes everything that a node serves, in version 3.0.3, which most generators support. */
export function openApiDocument(version: string, routes: readonly Route[]): OpenApiObject {
  const paths: Record<string, Record<string, OpenApiObject>> = {};
  for (const route of routes) {
    if (route.id === undefined) continue;
    (paths[route.path] ??= {})[route.method.toLowerCase()] = describeRoute(route);
  }
  return forClients({
    openapi: "3.0.3",
    info: {
      title: "Cairn",
      version,
      description:
        "A checkpointing index store for clusters. A key is a namespace and a name in a bucket. A name may contain slashes, which clients may escape.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers: [{ url: "/" }],
    // The empty requirement applies to nodes without tokens.
    security: [{ token: [] }, {}],
    paths,
    components: { schemas: SCHEMAS, securitySchemes: SECURITY_SCHEMES },
  }) as OpenApiObject;
}

type Errors = NonNullable<Route["errors"]>;

const ANY_REQUEST: Errors = [
  "REQUEST_INVALID",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "INTERNAL",
  // The request is late, expects something, has too many headers, or has an unknown transfer coding.
  ...[408, 417, 431, 501].map((status): readonly [ErrorCode, number] => ["REQUEST_INVALID", status]),
];

/** The errors of every operation that may have a body, whether it requires one or not. */
const ANY_BODY: Errors = ["TX_INVALID", ["REQUEST_INVALID", 415], "TX_TOO_LARGE"];

function describeRoute(route: Route): OpenApiObject {
  const { method, path, id, tag, summary, inPath = {}, query = {}, requestHeaders = [], body, right } = route;
  const { answers = [], errors = [] } = route;
  const parameters = [
    ...Array.from(path.matchAll(/\{(\w+)\}/g), ([, name = ""]) => ({
      in: "path",
      name,
      required: true,
      schema: inPath[name] ?? TEXT,
    })),
    ...Object.entries(query).map(([name, { schema, description, required }]) => ({
      in: "query",
      name,
      ...(required === undefined ? {} : { required: true }),
      schema,
      description,
    })),
    ...requestHeaders.map((name) => {
      const written = method === "GET" ? undefined : HEADERS_OF_WRITES[name];
      return { in: "header", name, ...header(name, written) };
    }),
  ];
  return {
    operationId: id,
    tags: [tag],
    summary,
    parameters,
    ...(body === undefined ? {} : { requestBody: { required: true, content: content(body) } }),
    responses: {
      ...Object.fromEntries(answers.map(success)),
      ...failures(route, [
        ...ANY_REQUEST,
        ...(method === "GET" ? [] : ANY_BODY),
        // Addresses of other resources have this form as well, and do not support every method.
        ...(path.startsWith("/api/v1/{bucket}") ? (["METHOD_NOT_ALLOWED"] as const) : []),
        ...errors,
      ]),
    },
    ...(right === "none" ? { security: [] } : { "x-right": right }),
  };
}

function header(
  name: HeaderName,
  [schema, description]: readonly [OpenApiObject, string] = HEADERS[name],
): OpenApiObject {
  return { schema, description };
}

function success(declared: Success): [string, OpenApiObject] {
  const { status, description, schema, mediaType = JSON_BODY, headers = [] } = declared;
  const answer = {
    description,
    headers: headersOf(headers),
    ...(schema === undefined ? {} : { content: content({ [mediaType]: schema }) }),
  };
  return [String(status), answer];
}

function content(schemas: Content): OpenApiObject {
  return Object.fromEntries(Object.entries(schemas).map(([mediaType, schema]) => [mediaType, { schema }]));
}

function headersOf(names: readonly HeaderName[]): OpenApiObject {
  return Object.fromEntries(names.map((name) => [name, header(name)]));
}

/** Returns one response for each status; its description lists the codes. */
function failures({ errorHeaders = {} }: Route, errors: Errors): OpenApiObject {
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
        ...(errorHeaders[status] && { headers: headersOf(errorHeaders[status]) }),
        content: content(jsonOf(ref("Error"))),
      },
    ]),
  );
}

/**
 * Makes nullable properties optional: generated Java clients (okhttp-gson) reject null for a required one. Lists null
 * among the values of a nullable enum, because `nullable` extends only the type.
 */
function forClients(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(forClients);
  if (part === null || typeof part !== "object") return part;
  const inner = Object.fromEntries(Object.entries(part).map(([name, value]) => [name, forClients(value)]));
  const { properties, required, ...rest } = inner as {
    properties?: Readonly<Record<string, OpenApiObject>>;
    required?: unknown;
  };
  const { nullable, enum: values } = inner;
  if (nullable === true && Array.isArray(values)) return { ...inner, enum: [...(values as string[]), null] };
  if (properties === undefined || !Array.isArray(required)) return inner;
  const needed = (required as string[]).filter((name) => properties[name]?.["nullable"] !== true);
  return { ...rest, properties, ...(needed.length === 0 ? {} : { required: needed }) };
}
