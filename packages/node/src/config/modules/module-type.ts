import { OLDER_NAMES, olderModule } from "./aliases.ts";
import { describeNode, emptyMap, findEntry, normalizeName, placeOf } from "../source/config-tree.ts";
import type { ConfigNode, MapNode, TextNode } from "../source/config-tree.ts";
import { KIND_NAMES } from "../types/module-kinds.ts";
import type { ModuleKind, ModuleUse } from "../types/module-kinds.ts";
import { didYouMean, nearestName } from "../../text/nearest-name.ts";
import { importedUse, instanceUse } from "./own-module.ts";
import { expected, type ValueType } from "../types/reading.ts";
import type { ConfigPath, Reading } from "../types/reading.ts";
import { isImportSpecifier, isPackageName } from "./user-module.ts";

/** There is no default store, because users would notice too late that their checkpoints are somewhere else. */
export const DEFAULT_MODULES: Readonly<Record<ModuleKind, string | undefined>> = {
  "tx-log": "cairn.embedded/->tx-log",
  "kv-store": "cairn.leveldb/->kv-store",
  checkpointer: "cairn.checkpoint/->checkpointer",
  "checkpoint-store": undefined,
};

/**
 * Returns the type of a module of a kind. A value of this type is a map with `cairn/module` and parameters, the name of
 * a module alone, the name of a top-level key with a module, or, in a program, a part itself.
 */
export function moduleOf<K extends ModuleKind>(kind: K): ValueType<ModuleUse<K>> {
  return {
    name: KIND_NAMES[kind].replace(/^an? /, ""),
    jsonSchema: { $ref: `#/$defs/${kind}` },
    read: (node, path, reading) => readModule(kind, node, path, reading),
    show: () => undefined,
  };
}

/** Reads a module. Returns undefined after adding problems. */
export function readModule<K extends ModuleKind>(
  kind: K,
  node: ConfigNode,
  path: ConfigPath,
  reading: Reading,
): ModuleUse<K> | undefined {
  const bare = emptyMap(node.origin);
  switch (node.type) {
    case "map": {
      const name = findEntry(node, "cairn/module")?.value;
      if (name !== undefined && name.type !== "null") return byName(kind, name, node, path, reading);
      const id = DEFAULT_MODULES[kind];
      const descriptor = id === undefined ? undefined : reading.modules.get(id);
      if (descriptor !== undefined) return ofKind(kind, descriptor.use(node, path, reading));
      reading.problems.add(node.origin, [...path, "cairn/module"], "This map does not name its module.", {
        code: "CONFIG_MODULE",
        hint: `Add "cairn/module": ${known(kind, reading).join(" or ")}.`,
      });
      return undefined;
    }
    case "keyword":
    case "string":
    case "symbol": {
      // A top-level key takes precedence over a module of the same name, because the key was written on purpose.
      const shared = normalizeName(node.text);
      const entry = findEntry(reading.root, shared);
      if (entry !== undefined) return readShared(kind, shared, entry.value, node, path, reading);
      return byName(kind, node, bare, path, reading);
    }
    case "instance":
      return instanceUse(kind, node, bare, path, reading);
    default:
      return expected(
        node,
        path,
        reading,
        `${KIND_NAMES[kind]}: a map with "cairn/module", or the name of one`,
      );
  }
}

function byName<K extends ModuleKind>(
  kind: K,
  name: ConfigNode,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
): ModuleUse<K> | undefined {
  const at = findEntry(map, "cairn/module") === undefined ? path : [...path, "cairn/module"];
  if (name.type === "instance") return instanceUse(kind, name, map, path, reading);
  if (name.type === "keyword") {
    const near = nearestName(
      normalizeName(name.text),
      reading.root.entries.map((entry) => entry.name),
    );
    reading.problems.add(name.origin, at, `Unknown top-level key :${name.text}.`, {
      code: "CONFIG_MODULE",
      hint:
        near === undefined ? `Known modules: ${known(kind, reading).join(", ")}.` : didYouMean(`:${near}`),
    });
    return undefined;
  }
  if (name.type !== "string" && name.type !== "symbol") {
    return expected(name, at, reading, "the name of a module", `Known: ${known(kind, reading).join(", ")}.`);
  }
  const id = builtInId(name, reading);
  const descriptor = id === undefined ? undefined : reading.modules.get(id);
  if (descriptor !== undefined) {
    if (descriptor.kind !== kind) {
      const wanted = `Known: ${known(kind, reading).join(", ")}.`;
      reading.problems.add(
        name.origin,
        at,
        `${name.text} is ${KIND_NAMES[descriptor.kind]}; ${KIND_NAMES[kind]} is required here.`,
        {
          code: "CONFIG_MODULE",
          hint: wanted,
        },
      );
      return undefined;
    }
    reading.settings.push({ path: [...path, "cairn/module"], value: descriptor.id, origin: name.origin });
    return ofKind(kind, descriptor.use(map, path, reading));
  }
  if (name.type === "string" && (isImportSpecifier(name.text) || isOwnPackage(kind, name.text, reading))) {
    reading.settings.push({ path: [...path, "cairn/module"], value: name.text, origin: name.origin });
    return importedUse(kind, name.text, name.origin, map, path, reading);
  }
  unknownModule(kind, name, at, reading);
  return undefined;
}

/** Translates the module of an older system to its counterpart, and adds a notice. */
function builtInId(name: TextNode, reading: Reading): string | undefined {
  const older = olderModule(name.text);
  if (older === undefined || !("id" in older)) return name.text;
  reading.notices.add(`${name.text} (${placeOf(name.origin)}) is read as ${older.id}.`);
  reading.older.add(name.text);
  return older.id;
}

function unknownModule(kind: ModuleKind, name: TextNode, path: ConfigPath, reading: Reading): void {
  const older = olderModule(name.text);
  if (older !== undefined && "hint" in older) {
    reading.problems.add(name.origin, path, older.message, {
      code: "CONFIG_MODULE",
      hint: older.hint,
    });
    return;
  }
  const names = known(kind, reading);
  const near = nearestName(name.text, [
    ...names,
    ...OLDER_NAMES,
    ...reading.root.entries.map((entry) => entry.name),
  ]);
  reading.problems.add(name.origin, path, `Unknown module ${JSON.stringify(name.text)}.`, {
    code: "CONFIG_MODULE",
    hint: near === undefined ? `Known: ${names.join(", ")}.` : didYouMean(near),
  });
}

/** Returns whether a string is the name of a package rather than a misspelt module name. */
function isOwnPackage(kind: ModuleKind, text: string, reading: Reading): boolean {
  if (!isPackageName(text) || olderModule(text) !== undefined) return false;
  const names = reading.root.entries.map((entry) => entry.name);
  return nearestName(text, [...names, ...known(kind, reading)]) === undefined;
}

function readShared<K extends ModuleKind>(
  kind: K,
  name: string,
  value: ConfigNode,
  use: TextNode,
  path: ConfigPath,
  reading: Reading,
): ModuleUse<K> | undefined {
  if (reading.open.has(name)) {
    reading.problems.add(use.origin, path, `${name} contains itself.`, {
      hint: "Remove the name from the module: a shared module must not name itself.",
    });
    return undefined;
  }
  const before = reading.shared.get(name);
  if (before !== undefined && before.kind !== kind) {
    const message = `${name} is ${KIND_NAMES[before.kind]} elsewhere; ${KIND_NAMES[kind]} is required here.`;
    reading.problems.add(use.origin, path, message, { code: "CONFIG_MODULE" });
    return undefined;
  }
  reading.settings.push({ path, value: name, origin: use.origin });
  if (before !== undefined) return ofKind(kind, before.use);
  // The module is read where it is first named, and remembered even if it is invalid, so that its problems are reported
  // only once.
  reading.open.add(name);
  const read =
    value.type === "null"
      ? expected(value, [name], reading, describeNode(value))
      : readModule(kind, value, [name], reading);
  reading.open.delete(name);
  reading.shared.set(name, { kind, use: read });
  return read;
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
