import { OLDER_NAMES, olderModule } from "./aliases.ts";
import { DEFAULT_ORIGIN, emptyMap, findEntry, normalizeName, placeOf } from "../source/config-tree.ts";
import type { ConfigEntry, MapNode, TextNode } from "../source/config-tree.ts";
import { KIND_NAMES, type ModuleKind, type ModuleUse } from "../types/module-kinds.ts";
import { didYouMean, nearestName } from "@cairn/text";
import { importedUse, instanceUse } from "./own-module.ts";
import { type ConfigPath, formatPath } from "../source/problems.ts";
import { addNames, type Reading, Value, type ValueType } from "../types/reading.ts";
import { isImportSpecifier, isPackageName } from "./user-module.ts";

/** There is no default store, because users would notice too late that their checkpoints are somewhere else. */
export const DEFAULT_MODULES: Readonly<Record<ModuleKind, string | undefined>> = {
  "tx-log": "cairn.embedded/->tx-log",
  "kv-store": "cairn.leveldb/->kv-store",
  checkpointer: "cairn.checkpoint/->checkpointer",
  "checkpoint-store": undefined,
  index: undefined,
};

/** The log of a configuration that names none while NATS_URL is set. */
export const NATS_LOG = "cairn.nats/->tx-log";

/**
 * Returns the type of a module: a map with `cairn/module` and parameters, the name of a module, the name of a top-level
 * key with one or, in a program, a part itself.
 */
export function moduleOf<K extends ModuleKind>(kind: K): ValueType<ModuleUse<K>> {
  return {
    name: KIND_NAMES[kind].replace(/^an? /, ""),
    jsonSchema: { $ref: `#/$defs/${kind}` },
    read: (value) => readModule(kind, value),
  };
}

/** Reads a module. Returns undefined after adding problems. */
export function readModule<K extends ModuleKind>(kind: K, value: Value): ModuleUse<K> | undefined {
  const { node, reading } = value;
  switch (node.type) {
    case "map": {
      const map = value.as(node);
      const name = findEntry(node, "cairn/module")?.value;
      if (name !== undefined && name.type !== "null")
        return byName(kind, value.at("cairn/module", name), map);
      const descriptor = reading.modules.get(DEFAULT_MODULES[kind] ?? "");
      if (descriptor !== undefined) {
        value.at("cairn/module", emptyMap(DEFAULT_ORIGIN)).record(descriptor.id);
        return ofKind(kind, descriptor.use(map));
      }
      const hint = `Add "cairn/module": ${known(kind, reading).join(" or ")}.`;
      const named = value.at("cairn/module", node);
      return named.refuse("This map does not name its module.", hint, "CONFIG_MODULE");
    }
    case "keyword":
    case "string":
    case "symbol": {
      // A top-level key takes precedence over a module of the same name, because the key was written on purpose.
      const shared = findEntry(reading.root, normalizeName(node.text));
      return shared === undefined
        ? byName(kind, value, value.as(emptyMap(node.origin)))
        : readShared(kind, shared, value);
    }
    case "instance":
      return instanceUse(kind, value.as(node), value.as(emptyMap(node.origin)));
    default:
      return value.expected(`${KIND_NAMES[kind]}: a map with "cairn/module", or the name of one`);
  }
}

function byName<K extends ModuleKind>(kind: K, name: Value, map: Value<MapNode>): ModuleUse<K> | undefined {
  const { node, reading } = name;
  if (node.type === "instance") return instanceUse(kind, map.as(node), map);
  if (node.type === "keyword") {
    if (isSharedName(name.as(node), map)) return undefined;
    const keys = reading.root.entries.map((entry) => entry.name);
    const near = nearestName(normalizeName(node.text), keys);
    const isModule = reading.modules.has(node.text) || olderModule(node.text) !== undefined;
    const others =
      near === undefined ? `Known modules: ${known(kind, reading).join(", ")}.` : didYouMean(`:${near}`);
    const hint = isModule ? `Write ${node.text}, without the colon.` : others;
    const what = isModule ? "A keyword is not the name of a module:" : "Unknown top-level key";
    return name.refuse(`${what} :${node.text}.`, hint, "CONFIG_MODULE");
  }
  const hint = `Known: ${known(kind, reading).join(", ")}.`;
  if (node.type !== "string" && node.type !== "symbol") return name.expected("the name of a module", hint);
  const descriptor = reading.modules.get(builtInId(node, reading));
  const record = (id: string): void => map.at("cairn/module", node).record(id);
  if (descriptor !== undefined) {
    if (descriptor.kind !== kind) {
      const what = `${node.text} is ${KIND_NAMES[descriptor.kind]}; ${KIND_NAMES[kind]} is required here.`;
      return name.refuse(what, hint, "CONFIG_MODULE");
    }
    record(descriptor.id);
    return ofKind(kind, descriptor.use(map));
  }
  if (node.type === "string" && (isImportSpecifier(node.text) || isOwnPackage(kind, node.text, reading))) {
    record(node.text);
    return importedUse(kind, node.text, name, map);
  }
  if (isSharedName(name.as(node), map)) return undefined;
  addNames(map.node, reading.refused, reading.root);
  return unknownModule(kind, node, name);
}

/** Returns whether a map names a top-level key, after refusing it: a shared module has its parameters in that key. */
function isSharedName({ node, path, reading }: Value<TextNode>, map: Value<MapNode>): boolean {
  const key = normalizeName(node.text);
  if (findEntry(reading.root, key) === undefined) return false;
  addNames(node, reading.refused, reading.root);
  const given = map.node.entries.filter((entry) => entry.name !== "cairn/module");
  const names = given.map((entry) => entry.name).join(", ");
  const hint =
    names === ""
      ? `Write "${key}" in the place of the map.`
      : `Write ${names} in the key "${key}", and the name "${key}" in the place of this map.`;
  const origin = given.at(-1)?.nameOrigin ?? node.origin;
  const message = `${key} is a shared module, which has its parameters in the key of that name.`;
  reading.problems.add(origin, path.slice(0, -1), message, hint, "CONFIG_MODULE");
  return true;
}

/** Translates the module of an older system to its counterpart, and adds a notice. */
function builtInId(name: TextNode, reading: Reading): string {
  const older = olderModule(name.text);
  if (older === undefined || !("id" in older)) return name.text;
  reading.notices.add(`${name.text} (${placeOf(name.origin)}) is read as ${older.id}.`);
  reading.older.add(name.text);
  return older.id;
}

function unknownModule(kind: ModuleKind, { text }: TextNode, value: Value): undefined {
  const older = olderModule(text);
  if (older !== undefined && "hint" in older) return value.refuse(older.message, older.hint, "CONFIG_MODULE");
  const names = known(kind, value.reading);
  const others = value.reading.root.entries.map((entry) => entry.name);
  const near = nearestName(text, [...names, ...OLDER_NAMES, ...others]);
  const hint = near === undefined ? `Known: ${names.join(", ")}.` : didYouMean(near);
  return value.refuse(`Unknown module ${JSON.stringify(text)}.`, hint, "CONFIG_MODULE");
}

/** Returns whether a string is the name of a package rather than a misspelt module name. */
function isOwnPackage(kind: ModuleKind, text: string, reading: Reading): boolean {
  if (!isPackageName(text) || olderModule(text) !== undefined) return false;
  const names = reading.root.entries.map((entry) => entry.name);
  return nearestName(text, [...names, ...known(kind, reading)]) === undefined;
}

/** Reads the top-level key that `value` names. */
function readShared<K extends ModuleKind>(
  kind: K,
  { name, value: node }: ConfigEntry,
  value: Value,
): ModuleUse<K> | undefined {
  const { open, shared } = value.reading;
  if (open.has(name)) {
    const hint = "Remove the name from the module: a shared module must not name itself.";
    return value.refuse(`${name} contains itself.`, hint);
  }
  const before = shared.get(name);
  if (before !== undefined && before.kind !== kind) {
    const message = `${name} is ${KIND_NAMES[before.kind]} elsewhere; ${KIND_NAMES[kind]} is required here.`;
    return value.refuse(message, undefined, "CONFIG_MODULE");
  }
  value.record(name);
  if (before !== undefined) return ofKind(kind, before.use);
  // Read where first named, and remembered even if invalid, so that its problems are reported only once.
  open.add(name);
  const module = new Value(node, [name], value.reading);
  const use = node.type === "null" ? removedModule(module, value.path) : readModule(kind, module);
  open.delete(name);
  shared.set(name, { kind, use });
  return use;
}

function removedModule(module: Value, namedAt: ConfigPath): undefined {
  const name = formatPath(module.path);
  const message = `${name} is null, but ${formatPath(namedAt)} names it.`;
  const hint = `Write a module in the place of null, or in the place of "${name}" at ${formatPath(namedAt)}.`;
  return module.refuse(message, hint);
}

function known(kind: ModuleKind, reading: Reading): readonly string[] {
  return [...reading.modules.values()].filter((module) => module.kind === kind).map((module) => module.id);
}

/** Narrows the type of a module whose kind has already been compared. */
function ofKind<K extends ModuleKind>(
  kind: K,
  use: ModuleUse<ModuleKind> | undefined,
): ModuleUse<K> | undefined {
  return use?.kind === kind ? (use as ModuleUse<K>) : undefined;
}
