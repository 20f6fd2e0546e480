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
    additionalProperties: eitherOf({ type: ["string", "null"] }, mapOfOneOf(MODULES)),
    $defs: Object.fromEntries(KINDS.map((kind) => [kind, schemaOfKind(kind)])),
  };
}

const KINDS: readonly ModuleKind[] = ["tx-log", "kv-store", "checkpointer", "checkpoint-store", "index"];
const MODULE_KEYS = ["cairn", ...OLDER_NAMESPACES].map((namespace) => `${namespace}/module`);

function schemaOfKind(kind: ModuleKind): JsonSchema {
  const modules = MODULES.filter((module) => module.kind === kind);
  const description = `The name of ${KIND_NAMES[kind]}`;
  const name = { type: "string", anyOf: [{ enum: modules.map(({ id }) => id) }, {}], description };
  const map = { properties: { "cairn/module": orNull(name) }, allOf: modules.map(schemaOfModule) };
  return { ...eitherOf(name, { ...mapOfOneOf(modules), ...map }), description: KIND_NAMES[kind] };
}

/** A map names its module, or has the parameters of a default. Which log is the default depends on NATS_URL. */
function mapOfOneOf(modules: readonly ModuleDescriptor[]): JsonSchema {
  const names = MODULE_KEYS.map((key) => ({ properties: { [key]: { type: "string" } }, required: [key] }));
  const defaults = modules.filter(({ id, kind }) => id === DEFAULT_MODULES[kind] || id === NATS_LOG);
  return { type: "object", ...eitherOf(...names, ...defaults.map(parametersOf)) };
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
  const named = Object.fromEntries(MODULE_KEYS.map((key) => [key, { description: module.doc }]));
  return { ...schema, properties: { ...schema.properties, ...named } };
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
