import type { OpenApiObject } from "../requests/schema-parts.ts";
import { DOCUMENT_OPERATIONS } from "./document-operations.ts";
import { NODE_OPERATIONS } from "./node-operations.ts";
import { describeOperation } from "./operation.ts";
import { EXACT_SCHEMAS, SCHEMAS } from "./schemas.ts";
import { QUEUE_OPERATIONS } from "./queue-operations.ts";
import { TRANSACTION_OPERATIONS } from "./transaction-operations.ts";

const SECURITY_SCHEMES = {
  token: { type: "http", scheme: "bearer", description: "One of the node's tokens." },
  ticket: {
    type: "apiKey",
    in: "query",
    name: "ticket",
    description: "A ticket from `POST /api/v1/watch/tickets`. It can be used once, within 60 s.",
  },
};

/** Describes everything a node serves, in version 3.0.3, which most generators support. */
export function openApiDocument(version: string): OpenApiObject {
  return forClients(describe(version, SCHEMAS, false)) as OpenApiObject;
}

/**
 * Returns the same document with the exact schema of each status, and with required properties that are nullable.
 * Generated clients could not use it, because they apply one schema to all successful responses of an operation, and
 * some reject null for a required property.
 */
export function exactOpenApiDocument(version: string): OpenApiObject {
  return describe(version, { ...SCHEMAS, ...EXACT_SCHEMAS }, true);
}

function describe(version: string, schemas: OpenApiObject, isExact: boolean): OpenApiObject {
  const paths: Record<string, Record<string, OpenApiObject>> = {};
  for (const operation of [
    ...NODE_OPERATIONS,
    ...TRANSACTION_OPERATIONS,
    ...QUEUE_OPERATIONS,
    ...DOCUMENT_OPERATIONS,
  ]) {
    (paths[operation.path] ??= {})[operation.method] = describeOperation(operation, isExact);
  }
  return {
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
    components: { schemas, securitySchemes: SECURITY_SCHEMES },
  };
}

/**
 * Returns `part` with its nullable properties made optional, because generated Java clients (okhttp-gson) reject null
 * for a required property.
 */
function forClients(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(forClients);
  if (part === null || typeof part !== "object") return part;
  const inner = Object.fromEntries(Object.entries(part).map(([name, value]) => [name, forClients(value)]));
  const { properties, required, ...rest } = inner as {
    properties?: Readonly<Record<string, OpenApiObject>>;
    required?: unknown;
  };
  if (properties === undefined || !Array.isArray(required)) return inner;
  const needed = (required as string[]).filter((name) => properties[name]?.["nullable"] !== true);
  return { ...rest, properties, ...(needed.length === 0 ? {} : { required: needed }) };
}
