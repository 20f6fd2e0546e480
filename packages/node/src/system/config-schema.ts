import { KIND_NAMES } from "./module-kinds.ts";
import type { ModuleKind } from "./module-kinds.ts";
import { MODULES } from "./modules.ts";
import { schemaOfParameters } from "./map-type.ts";
import { TOP_LEVEL_KEYS, httpParameters, indexStoreParameters, nodeParameters } from "./top-level.ts";
import type { JsonSchema } from "./value-types.ts";

/** The JSON Schema of a configuration file, for completion and checks in editors. It knows the built-in modules; any other may have any parameter. */
export function configSchema(): JsonSchema {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Cairn configuration",
    type: "object",
    properties: {
      "cairn/node": described("cairn/node", schemaOfParameters(nodeParameters)),
      "cairn/tx-log": described("cairn/tx-log", { $ref: "#/$defs/tx-log" }),
      "cairn/index-store": described("cairn/index-store", schemaOfParameters(indexStoreParameters)),
      "cairn/http-server": described("cairn/http-server", {
        anyOf: [schemaOfParameters(httpParameters), { type: "null" }],
      }),
    },
    // Other top-level keys are modules that parameters name; what they are depends on who names them.
    additionalProperties: { type: "object", required: ["cairn/module"] },
    $defs: Object.fromEntries(KINDS.map((kind) => [kind, schemaOfKind(kind)])),
  };
}

const KINDS: readonly ModuleKind[] = ["tx-log", "kv-store", "checkpointer", "checkpoint-store"];

function schemaOfKind(kind: ModuleKind): JsonSchema {
  const modules = MODULES.filter((module) => module.kind === kind && !module.unbuilt);
  const ids = modules.map((module) => module.id);
  const own = modules.map((module): JsonSchema => {
    const schema = schemaOfParameters(module.parameters);
    return {
      if: { properties: { "cairn/module": { const: module.id } }, required: ["cairn/module"] },
      // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's own word.
      then: {
        ...schema,
        properties: { ...schema.properties, "cairn/module": { const: module.id, description: module.doc } },
      },
    };
  });
  const name = { type: "string", description: `The name of ${KIND_NAMES[kind]}`, examples: ids };
  const map = { type: "object", properties: { "cairn/module": name }, allOf: own };
  return { anyOf: [name, map], description: KIND_NAMES[kind] };
}

function described(name: string, schema: JsonSchema): JsonSchema {
  return { ...schema, description: TOP_LEVEL_KEYS[name] ?? name };
}
