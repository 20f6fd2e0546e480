import { describeOperation } from "./operation.ts";
import type { OpenApiObject } from "./schema-parts.ts";
import { DOCUMENT_OPERATIONS } from "./document-operations.ts";
import { NODE_OPERATIONS } from "./node-operations.ts";
import { EXACT_SCHEMAS, SCHEMAS } from "./schemas.ts";
import { TRANSACTION_OPERATIONS } from "./transaction-operations.ts";

/** The OpenAPI document (3.0.3, which generators read most widely) of everything that a node serves. */
export function openApiDocument(version: string): OpenApiObject {
  return forClients(describe(version, SCHEMAS, false)) as OpenApiObject;
}

/**
 * The same, as exact as can be: what each status of an operation has, and that what may be null is there. Generated clients could not read
 * answers by it: they take one schema for all successes of an operation, and some take null for a property that is missing.
 */
export function exactOpenApiDocument(version: string): OpenApiObject {
  return describe(version, { ...SCHEMAS, ...EXACT_SCHEMAS }, true);
}

function describe(version: string, schemas: OpenApiObject, isExact: boolean): OpenApiObject {
  const paths: Record<string, Record<string, OpenApiObject>> = {};
  for (const operation of [...NODE_OPERATIONS, ...TRANSACTION_OPERATIONS, ...DOCUMENT_OPERATIONS]) {
    (paths[operation.path] ??= {})[operation.method] = describeOperation(operation, isExact);
  }
  return {
    openapi: "3.0.3",
    info: {
      title: "Cairn",
      version,
      description:
        "A checkpointing index store for clusters. A key is a namespace and a name in a bucket; a name may have slashes, which clients leave as they are or escape.",
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers: [{ url: "/" }],
    // The empty one: a node without an auth-token asks for none.
    security: [{ token: [] }, {}],
    paths,
    components: { schemas, securitySchemes: { token: { type: "http", scheme: "bearer" } } },
  };
}

/** What may be null need not be there: generated Java (okhttp-gson) refuses a null where a property is required. */
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
