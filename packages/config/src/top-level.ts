import type { Policies } from "@cairn/client";
import { ALL_RIGHTS } from "@cairn/client/protocol";
import { hostname } from "node:os";
import { OLDER_PARAMETERS, TOP_LEVEL_ALIASES, olderModule, olderSetting } from "./modules/aliases.ts";
import { emptyMap, findEntry, placeOf } from "./source/config-tree.ts";
import type { ConfigEntry, ConfigNode, MapNode, Origin } from "./source/config-tree.ts";
import { moduleOf, readModule } from "./modules/module-type.ts";
import { mapByName } from "./types/map-type.ts";
import type { ModuleKind, ModuleUse } from "./types/module-kinds.ts";
import { didYouMean, nearestName, omitUndefined, ownMember } from "@cairn/text";
import { withDefault } from "./types/parameter.ts";
import { plainValue, printableValue, refuseCode } from "./types/plain-value.ts";
import { type Inconsistency, readParameters } from "./types/read-parameters.ts";
import { type Parameters, type ParameterValues, type Reading, Value } from "./types/reading.ts";
import { type HttpOptions, policyProblems } from "@cairn/engine";
import { httpParameters, LOOPBACK_ONLY } from "./http-parameters.ts";
import { path, textLike } from "./types/value-types.ts";

/** The id is used in file names and manifests, so it must be valid in both on every system. */
export const nodeParameters = {
  id: withDefault(
    textLike(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
      "a name of letters, digits, dots, hyphens and underscores, 128 at most",
    ),
    () =>
      hostname()
        .replace(/[^A-Za-z0-9._-]/g, "-")
        .replace(/^[._-]+/, "") || "node",
    "The node's name in its checkpoints, its folders and /status. Must be different on each node.",
    "the host name",
  ),
  dir: withDefault(
    path(),
    ({ reading }) => `${reading.cwd}/cairn-data`,
    "The folder for the node's local data.",
    '`"./cairn-data"`',
  ),
};

export const indexStoreParameters = {
  "kv-store": withDefault(
    moduleOf("kv-store"),
    (absent) => readModule("kv-store", absent),
    "The key-value store of the index.",
    "`cairn.leveldb/->kv-store` without checkpoints",
  ),
};

export const TOP_LEVEL_KEYS: Readonly<Record<string, string>> = {
  "cairn/node": "The node itself.",
  "cairn/tx-log": "The transaction log: a module.",
  "cairn/index-store": "The index, with its checkpoints.",
  "cairn/http-server": "The HTTP server; `null` for none.",
  "cairn/policies": "Policies to set in a log that has none.",
  "cairn/indexes": "Indexes of your own, by name: modules.",
};

type Named<P> = { readonly [Name in keyof P]?: unknown };

/** A configuration as an object. The values, and the parameters of modules, are checked when it is read. */
export interface NodeConfig {
  readonly "cairn/node"?: Named<typeof nodeParameters>;
  readonly "cairn/tx-log"?: object | string;
  readonly "cairn/index-store"?: Named<typeof indexStoreParameters>;
  readonly "cairn/http-server"?: Named<typeof httpParameters> | null;
  readonly "cairn/policies"?: Policies;
  readonly "cairn/indexes"?: Readonly<Record<string, object | string | null>>;
}

/** Renames the top-level keys of older systems, with notices. If a source has both names, keeps both to report it. */
export function renameTopLevel(root: MapNode, notices: Set<string>): MapNode {
  const entries = root.entries.map((entry): ConfigEntry => {
    const name = TOP_LEVEL_ALIASES.get(entry.name);
    if (name === undefined || findEntry(root, name) !== undefined) return entry;
    const translated = `${entry.name} (${placeOf(entry.nameOrigin)}) is read as ${name}`;
    const hasHost = findEntry(entry.value, "host") !== undefined;
    notices.add(hasHost ? `${translated}.` : `${translated}, which ${LOOPBACK_ONLY}`);
    return { ...entry, name };
  });
  return { ...root, entries };
}

export function readTopLevel<P extends Parameters>(
  name: string,
  parameters: P,
  reading: Reading,
): ParameterValues<P> | undefined {
  const node = findEntry(reading.root, name)?.value;
  const map = node === undefined || node.type === "null" ? emptyMap(reading.root.origin) : node;
  const value = new Value(map, [name], reading);
  if (map.type !== "map") return value.expectedMap(`a map with ${Object.keys(parameters).join(", ")}`);
  return readParameters(parameters, value.as(map), { what: name, hints: HINTS });
}

/** Reads `cairn/http-server`. Returns false if it is disabled, and undefined after adding problems. */
export function readHttp(reading: Reading): HttpOptions | false | undefined {
  const node = findEntry(reading.root, "cairn/http-server")?.value;
  if (node?.type === "null" || (node?.type === "boolean" && !node.value)) {
    reading.settings.push({ path: ["cairn/http-server"], value: null, origin: node.origin });
    return false;
  }
  const values = readTopLevel("cairn/http-server", httpParameters, reading);
  if (values === undefined) return undefined;
  if ((node === undefined || node.origin.kind === "default") && reading.older.size > 0) {
    reading.notices.add(
      `No HTTP server is configured, but this node still serves ${values.host}:${values.port} ("cairn/http-server": null disables the server).`,
    );
  }
  const { tokens = [], authToken, drain, readyMaxLag, ...options } = values;
  // `auth-token` is short for a token with all rights.
  const named = tokens.map(([name, { file, env = "", ...token }]) => {
    const source = file === undefined ? { env, text: ownMember(reading.env, env) } : { file };
    return { name, source, ...token };
  });
  const all =
    authToken === undefined ? named : [...named, { source: { text: authToken }, rights: ALL_RIGHTS }];
  const given = { tokens: all.length === 0 ? undefined : all, drainMs: drain, readyMaxLagMs: readyMaxLag };
  return { ...options, ...omitUndefined(given) };
}

/** Reads `cairn/policies`. Returns undefined if it is absent, or after adding problems. */
export function readPolicies(reading: Reading): Policies | undefined {
  const key = "cairn/policies";
  const node = findEntry(reading.root, key)?.value;
  if (node === undefined || node.type === "null") return undefined;
  refuseCode(new Value(node, [key], reading));
  const value = plainValue(node);
  const problems = policyProblems(value);
  for (const { path: names, message } of problems) {
    const hint = "docs/policies.md describes policies.";
    reading.problems.add(originAt(node, names), [key, ...names], message, hint);
  }
  if (problems.length > 0) return undefined;
  reading.settings.push({ path: [key], value: printableValue("", value), origin: node.origin });
  return value as Policies;
}

/** Returns the origin of the innermost existing value on a path. */
function originAt(node: ConfigNode, [name, ...rest]: readonly string[]): Origin {
  if (name === undefined) return node.origin;
  if (node.type === "list") {
    const item = node.items[Number(name)];
    return item === undefined ? node.origin : originAt(item, rest);
  }
  const entry = findEntry(node, name);
  if (entry === undefined) return node.origin;
  return rest.length === 0 ? entry.nameOrigin : originAt(entry.value, rest);
}

export type NamedIndex = readonly [name: string, use: ModuleUse<"index">];

/** A name is a folder, and a part of addresses. */
export const indexesType = mapByName(
  /^[a-z0-9][a-z0-9_-]{0,63}$/,
  "a name of lower-case letters, digits, hyphens and underscores, 64 at most",
  () => moduleOf("index"),
  0,
);

/** Reads `cairn/indexes`. Returns undefined after adding problems. */
export function readIndexes(reading: Reading): readonly NamedIndex[] | undefined {
  const node = findEntry(reading.root, "cairn/indexes")?.value;
  if (node === undefined || node.type === "null") return [];
  const value = new Value(node, ["cairn/indexes"], reading);
  if (node.type !== "instance") return indexesType.read(value);
  // A map that contains a function is read as a part, which is refused with the reason.
  readModule("index", value);
  return undefined;
}

/** Adds a problem for every top-level key that nothing has read. Must be called last. */
export function checkTopLevelKeys(reading: Reading): void {
  for (const entry of reading.root.entries) {
    const { name, nameOrigin, value, replaced } = entry;
    if (Object.hasOwn(TOP_LEVEL_KEYS, name) || reading.shared.has(name)) continue;
    // If a null removes nothing, its key may be misspelt, and a server that should be disabled would remain enabled.
    if (value.type === "null" && replaced !== undefined) continue;
    if (reading.replaced.has(name)) {
      const why = "a source of higher precedence replaces what names it";
      reading.notices.add(`${name} (${nameOrigin.label}) has no effect: ${why}.`);
      continue;
    }
    // This key is only for editors. Its value is the location of the output of `cairn config schema`.
    if (name === "$schema") continue;
    const { message, hint } = unreadKey(entry, reading) ?? {};
    if (message !== undefined) reading.problems.add(nameOrigin, [name], message, hint);
  }
}

function unreadKey({ name, value }: ConfigEntry, reading: Reading): Inconsistency | undefined {
  const known = Object.keys(TOP_LEVEL_KEYS);
  const alias = TOP_LEVEL_ALIASES.get(name);
  if (alias !== undefined)
    return { message: `${name} means ${alias}, which is also given.`, hint: "Keep one of the two." };
  const isModule = findEntry(value, "cairn/module") !== undefined;
  // A module of this configuration may have a name that is a setting of an older system.
  const older = isModule && /^\w+$/.test(name) ? undefined : olderSetting(name);
  const module = older ?? olderModule(moduleIdOf(value) ?? "");
  if (module !== undefined && "hint" in module)
    return { message: module.message, hint: module.hint.replace(/^Use/, "Remove it, and use") };
  if (reading.refused.has(name)) return undefined;
  // The string that names the module may contain an unset variable.
  if (isModule && reading.problems.someUnfilled) return undefined;
  // Names are compared without namespaces, too, because a common namespace must not make them seem similar.
  const plainNames = known.map((key) => key.replace("cairn/", ""));
  const plain = nearestName(name, plainNames);
  const near = nearestName(name, known) ?? (plain === undefined ? undefined : `cairn/${plain}`);
  if (isModule && near === undefined) {
    const at = PLACES.get(kindOf(value, reading) ?? "");
    const hint = `Write "${name}" ${at === undefined ? "in the place of the module" : `at ${at}`}, or remove the key.`;
    return { message: `The module ${name} is not used by any parameter.`, hint };
  }
  const place = PLACES.get(name);
  const hint = place === undefined ? `Known: ${known.join(", ")}.` : `Move it to ${place}.`;
  return {
    message: `Unknown top-level key ${name}.`,
    hint: near === undefined ? hint : didYouMean(near),
  };
}

/** Where modules of each kind belong; also a help with fragments copied from documentation without the context. */
const PLACES: ReadonlyMap<string, string> = new Map([
  ["tx-log", "cairn/tx-log"],
  ["kv-store", "cairn/index-store > kv-store"],
  ["checkpointer", "cairn/index-store > kv-store > checkpointer"],
  ["checkpoint-store", "cairn/index-store > kv-store > checkpointer > store"],
  ["index", "cairn/indexes > NAME"],
]);

const HINTS: ReadonlyMap<string, string> = new Map([
  ...OLDER_PARAMETERS,
  ...[...PLACES].map(([name, place]) => [name, `Move it to ${place}.`] as const),
]);

function moduleIdOf(module: ConfigNode): string | undefined {
  const id = findEntry(module, "cairn/module")?.value;
  return id?.type === "string" || id?.type === "symbol" || id?.type === "keyword" ? id.text : undefined;
}

function kindOf(module: ConfigNode, reading: Reading): ModuleKind | undefined {
  const id = moduleIdOf(module) ?? "";
  const older = olderModule(id);
  return reading.modules.get(older !== undefined && "id" in older ? older.id : id)?.kind;
}
