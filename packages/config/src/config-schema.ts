import { TOP_LEVEL_ALIASES, olderPatterns } from "./modules/aliases.ts";
import { OLDER_NAMESPACES } from "./source/config-tree.ts";
import { eitherOf, type JsonSchema } from "./types/json-schema.ts";
import { schemaOfParameters } from "./types/parameter.ts";
import type { ModuleDescriptor } from "./types/reading.ts";
import { KIND_NAMES, type ModuleKind } from "./types/module-kinds.ts";
import { DEFAULT_MODULES } from "./modules/module-type.ts";
import { MODULES } from "./modules/modules.ts";
import { indexesType } from "./indexes-key.ts";
import { policiesSchema } from "./policies-key.ts";
import { httpParameters } from "./http-parameters.ts";
import { TOP_LEVEL_KEYS, indexStoreParameters, nodeParameters } from "./top-level.ts";

/**
 * Returns the JSON Schema of a configuration file, for editors. It covers the built-in modules and their older names;
 * other modules may have any parameters. It checks nothing that depends on other parts of the file or the environment.
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
      ...topLevel("cairn/policies", orNull(policiesSchema())),
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
  const name = nameSchema(kind, modules);
  const properties = Object.fromEntries(MODULE_KEYS.map((key) => [key, name]));
  const map = { type: "object", properties, allOf: modules.map(schemaOfModule) };
  const named = DEFAULT_MODULES[kind] === undefined ? { anyOf: MODULE_KEYS.map(requires) } : {};
  return { ...eitherOf(name, { ...map, ...named }), description: KIND_NAMES[kind] };
}

/** Returns the schema of the name of a module or of a top-level key. Only built-in names contain an arrow. */
function nameSchema(kind: ModuleKind, modules: readonly ModuleDescriptor[]): JsonSchema {
  const ids = modules.map((module) => module.id);
  const older = modules
    .flatMap((module) => olderPatterns(module.id))
    .map(({ source }) => ({ pattern: source }));
  return {
    type: "string",
    anyOf: [{ enum: ids }, ...older, { pattern: "#" }, { not: { pattern: "->" } }],
    description: `The name of ${KIND_NAMES[kind]}`,
  };
}

function schemaOfModule(module: ModuleDescriptor): JsonSchema {
  const schema = schemaOfParameters(module.parameters);
  const name = eitherOf(
    { const: module.id },
    ...olderPatterns(module.id).map(({ source }) => ({ type: "string", pattern: source })),
  );
  const named = MODULE_KEYS.map((key) => ({ properties: { [key]: name }, required: [key] }));
  const unnamed = { not: { anyOf: MODULE_KEYS.map(requires) } };
  const names = Object.fromEntries(MODULE_KEYS.map((key) => [key, { description: module.doc }]));
  return {
    if: eitherOf(...named, ...(DEFAULT_MODULES[module.kind] === module.id ? [unnamed] : [])),
    // oxlint-disable-next-line unicorn/no-thenable -- JSON Schema's own word.
    then: { ...schema, ...module.constraint, properties: { ...schema.properties, ...names } },
  };
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
