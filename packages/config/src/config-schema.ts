import { TOP_LEVEL_ALIASES } from "./modules/aliases.ts";
import { OLDER_NAMESPACES } from "./source/config-tree.ts";
import { eitherOf, type JsonSchema } from "./types/json-schema.ts";
import { schemaOfParameters } from "./types/parameter.ts";
import type { ModuleDescriptor } from "./types/reading.ts";
import { KIND_NAMES, type ModuleKind } from "./types/module-kinds.ts";
import { DEFAULT_MODULES, NATS_LOG } from "./modules/module-type.ts";
import { MODULES } from "./modules/modules.ts";
import { httpParameters } from "./http-parameters.ts";
import { indexesType, indexStoreParameters, nodeParameters, TOP_LEVEL_KEYS } from "./top-level.ts";

/**
 * Returns the JSON Schema of a configuration file, for editors: the names and the forms of values. It covers the built-in
 * modules; others may have any parameters.
 */
export function configSchema(): JsonSchema {
  const http = eitherOf(schemaOfParameters(httpParameters), { type: "null" }, { const: false });
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Cairn configuration",
    type: "object",
    properties: {
      $schema: { type: "string", description: "The location of this schema, for editors." },
      ...topLevel("cairn/node", orNull(schemaOfParameters(nodeParameters))),
      ...topLevel("cairn/tx-log", orNull({ $ref: "#/$defs/tx-log" })),
      ...topLevel("cairn/index-store", orNull(schemaOfParameters(indexStoreParameters))),
      ...topLevel("cairn/http-server", http),
      ...topLevel("cairn/policies", orNull({ type: "object" })),
      ...topLevel("cairn/indexes", orNull(indexesType.jsonSchema)),
    },
    // Other top-level keys are modules that parameters name. The kind of each module depends on the parameter.
    additionalProperties: orNull({ type: "object", anyOf: MODULE_KEYS.map(requires) }),
    $defs: Object.fromEntries(KINDS.map((kind) => [kind, schemaOfKind(kind)])),
  };
}

const KINDS: readonly ModuleKind[] = ["tx-log", "kv-store", "checkpointer", "checkpoint-store", "index"];
const MODULE_KEYS = ["cairn", ...OLDER_NAMESPACES].map((namespace) => `${namespace}/module`);

function schemaOfKind(kind: ModuleKind): JsonSchema {
  const modules = MODULES.filter((module) => module.kind === kind);
  const description = `The name of ${KIND_NAMES[kind]}`;
  const name = { type: "string", anyOf: [{ enum: modules.map(({ id }) => id) }, {}], description };
  const map = { type: "object", properties: { "cairn/module": name }, allOf: modules.map(schemaOfModule) };
  // Which log a map is that names no module depends on NATS_URL.
  const defaults = modules.filter(({ id }) => id === DEFAULT_MODULES[kind] || id === NATS_LOG);
  const named = eitherOf(...MODULE_KEYS.map(requires), ...defaults.map(parametersOf));
  return { ...eitherOf(name, { ...map, ...named }), description: KIND_NAMES[kind] };
}

function schemaOfModule(module: ModuleDescriptor): JsonSchema {
  return {
    if: { properties: { "cairn/module": { const: module.id } }, required: ["cairn/module"] },
    // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's own word.
    then: parametersOf(module),
  };
}

function parametersOf(module: ModuleDescriptor): JsonSchema {
  const schema = schemaOfParameters(module.parameters);
  return { ...schema, properties: { ...schema.properties, "cairn/module": { description: module.doc } } };
}

function requires(name: string): JsonSchema {
  return { required: [name] };
}

function orNull(schema: JsonSchema): JsonSchema {
  return eitherOf(schema, { type: "null" });
}

/** Returns the schemas of a top-level key and its older names. */
function topLevel(key: string, schema: JsonSchema): Readonly<Record<string, JsonSchema>> {
  const older = [...TOP_LEVEL_ALIASES].filter(([, name]) => name === key).map(([name]) => name);
  const renamed = OLDER_NAMESPACES.map((namespace) => key.replace("cairn/", `${namespace}/`));
  const described = { ...schema, description: TOP_LEVEL_KEYS[key] ?? key };
  return Object.fromEntries([key, ...renamed, ...older].map((name) => [name, described]));
}
