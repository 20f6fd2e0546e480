import { describeOperation, type OpenApiObject } from "./operation.ts";
import { DOCUMENT_OPERATIONS } from "./document-operations.ts";
import { NODE_OPERATIONS } from "./node-operations.ts";
import { SCHEMAS } from "./schemas.ts";
import { TRANSACTION_OPERATIONS } from "./transaction-operations.ts";

/** The OpenAPI document (3.0.3, which generators read most widely) of everything that a node serves. */
export function openApiDocument(version: string): OpenApiObject {
  const paths: Record<string, Record<string, OpenApiObject>> = {};
  for (const operation of [...NODE_OPERATIONS, ...TRANSACTION_OPERATIONS, ...DOCUMENT_OPERATIONS]) {
    (paths[operation.path] ??= {})[operation.method] = describeOperation(operation);
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
    components: { schemas: SCHEMAS, securitySchemes: { token: { type: "http", scheme: "bearer" } } },
  };
}
