import { join, resolve } from "node:path";
import type { ConfigInput, ConfigSources } from "./config-sources.ts";
import { olderModule } from "./modules/aliases.ts";
import { commonParameters } from "./modules/common-parameters.ts";
import { NATS_LOG } from "./modules/module-type.ts";
import {
  DEFAULT_ORIGIN,
  emptyMap,
  findEntry,
  findNode,
  mapOfValues,
  normalizeName,
} from "./source/config-tree.ts";
import type { ConfigEntry, ConfigNode, MapNode } from "./source/config-tree.ts";
import type { Environment } from "./source/interpolate.ts";
import type { ProblemList } from "./source/problems.ts";
import { renameTopLevel } from "./top-level.ts";
import { didYouMean, nearestName } from "@cairn/text";
import { addNames, type ModuleDescriptor, type Reading } from "./types/reading.ts";
import { absolutePath } from "./types/value-types.ts";

interface Merged {
  readonly root: MapNode;
  /** The values that others have replaced. */
  readonly gone: readonly ConfigNode[];
}

/** Merges all sources into one tree, in their order of precedence. */
export function mergeSources(sources: ConfigSources, input: ConfigInput, notices: Set<string>): Merged {
  const base = sources.base.map((tree) => renameTopLevel(tree, notices));
  const over = [sources.json, sources.edn]
    .filter((tree) => tree !== undefined)
    .map((tree) => renameTopLevel(tree, notices));
  const given = new Set(base.flatMap((tree) => tree.entries.map((entry) => entry.name)));
  // The default store is in the node's folder, so the folder must be determined before the defaults.
  const dir = findNode(mergeTrees([...base, variableTree(input.env, OF_NODE), ...over]), "cairn/node", "dir");
  const written = dir?.type === "string" ? dir.text : "";
  const folder = absolutePath(written, input.cwd) ?? resolve(input.cwd, "cairn-data");
  const below = [selectedLog(input.env, mergeTrees([...base, ...over])), defaultTree(given, folder), ...base];
  // The path that a variable sets depends on the modules that the other sources choose, including stronger sources.
  const environment = environmentTree(input.env, mergeTrees([...below, ...over]), notices);
  const gone: ConfigNode[] = [];
  return { root: mergeTrees([...below, environment, ...over], gone), gone };
}

export function newReading(
  { root, gone }: Merged,
  input: ConfigInput,
  problems: ProblemList,
  notices: Set<string>,
  modules: readonly ModuleDescriptor[],
): Reading {
  const replaced = new Set<string>();
  for (const node of gone) addNames(node, replaced, root);
  return {
    root,
    cwd: input.cwd,
    env: input.env,
    isForNode: input.isForNode === true,
    node: { id: "node", dir: resolve(input.cwd, "cairn-data") },
    modules: new Map(modules.map((module) => [module.id, module])),
    commonParameters,
    problems,
    settings: [],
    libraryVariables: new Set(["NODE_EXTRA_CA_CERTS"]),
    notices,
    shared: new Map(),
    refused: new Set(),
    replaced,
    older: new Set(),
    open: new Set(),
    checks: [],
  };
}

/**
 * Returns what NATS_URL selects where the log is written, under everything else: a log with other parameters, but no
 * module, is that of the cluster, too, and not one of the node's own.
 */
function selectedLog(env: Environment, given: MapNode): MapNode {
  if (variable(env, "NATS_URL") === undefined) return emptyMap(DEFAULT_ORIGIN);
  return nest([...locate(given, ["cairn/tx-log"]), "cairn/module"], text(NATS_LOG));
}

/** Returns the defaults of the top-level keys that are not given. */
function defaultTree(given: ReadonlySet<string>, dir: string): MapNode {
  const whole = map({
    "cairn/node": map({}),
    "cairn/index-store": map({
      "kv-store": map({
        "cairn/module": text("cairn.leveldb/->kv-store"),
        checkpointer: map({
          "cairn/module": text("cairn.checkpoint/->checkpointer"),
          store: map({
            "cairn/module": text("cairn.checkpoint/->filesystem-checkpoint-store"),
            path: text(join(dir, "checkpoints")),
          }),
          "approx-frequency": text("PT6H"),
        }),
      }),
    }),
    "cairn/http-server": map({}),
  });
  return { ...whole, entries: whole.entries.filter((entry) => !given.has(entry.name)) };
}

function map(values: Readonly<Record<string, ConfigNode>>): MapNode {
  return mapOfValues(values, DEFAULT_ORIGIN);
}

function text(value: string): ConfigNode {
  return { type: "string", text: value, origin: DEFAULT_ORIGIN };
}

/**
 * Returns the environment as a tree to merge over `merged`, which determines the paths that the variables for the
 * index, the store and the log set. Adds a notice for each variable that has nothing to override.
 */
function environmentTree(env: Environment, merged: MapNode, notices: Set<string>): MapNode {
  const storeModule = moduleAt(merged, locate(merged, STORE));
  const isNats = moduleAt(merged, locate(merged, ["cairn/tx-log"])) === NATS_LOG;
  const http = findNode(merged, "cairn/http-server");
  // A token or a port that is set for every process must not enable a server that the file disables.
  const hasServer = http?.type !== "null" && http?.type !== "boolean";
  const obstacle = (name: string): string | undefined => {
    if (name === "CAIRN_CHECKPOINT_PATH" && storeModule !== "cairn.checkpoint/->filesystem-checkpoint-store")
      return "there is no filesystem checkpoint store that it could apply to";
    if (name === "NATS_URL" && !isNats) return "the transaction log is not a NATS log";
    return name.startsWith("CAIRN_HTTP_") && !hasServer ? "there is no HTTP server" : undefined;
  };
  const places = VARIABLES.flatMap(([name, path]) => {
    const reason = variable(env, name) === undefined ? undefined : obstacle(name);
    if (reason !== undefined) notices.add(`${name} has no effect: ${reason}.`);
    const real = [...locate(merged, path.slice(0, -1)), ...path.slice(-1)];
    return reason === undefined ? [[name, real] as const] : [];
  });
  for (const name of PROXY_VARIABLES)
    if (storeModule === "cairn.s3/->checkpoint-store" && variable(env, name) !== undefined)
      notices.add(`${name} has no effect: nodes connect to S3 directly.`);
  const isOpen = ["auth-token", "tokens"].every(
    (name) => findNode(merged, "cairn/http-server", name) === undefined,
  );
  if (
    isOpen &&
    hasServer &&
    variable(env, "CAIRN_AUTH_TOKEN") !== undefined &&
    variable(env, "CAIRN_HTTP_AUTH_TOKEN") === undefined
  )
    notices.add(ONLY_FOR_COMMANDS);
  return variableTree(env, places);
}

/** The variables that set parameters of the node itself, regardless of the other sources. */
const OF_NODE = [
  ["CAIRN_DIR", ["cairn/node", "dir"]],
  ["CAIRN_NODE_ID", ["cairn/node", "id"]],
] as const;

const KV_STORE = ["cairn/index-store", "kv-store"];
const STORE = [...KV_STORE, "checkpointer", "store"];

/** The variables that set parameters. A value on a path may be the name of a top-level key. */
const VARIABLES: readonly (readonly [name: string, path: readonly string[]])[] = [
  ...OF_NODE,
  ["CAIRN_INDEX_PATH", [...KV_STORE, "db-dir"]],
  ["CAIRN_CHECKPOINT_PATH", [...STORE, "path"]],
  ["NATS_URL", ["cairn/tx-log", "servers"]],
  ["CAIRN_HTTP_HOST", ["cairn/http-server", "host"]],
  ["CAIRN_HTTP_PORT", ["cairn/http-server", "port"]],
  ["CAIRN_HTTP_AUTH_TOKEN", ["cairn/http-server", "auth-token"]],
];

const PROXY_VARIABLES = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

const ONLY_FOR_COMMANDS =
  "CAIRN_AUTH_TOKEN is only what commands send: this node requires no token. To require one, set CAIRN_HTTP_AUTH_TOKEN or auth-token.";

/**
 * Refuses values that a shell would have changed, but a file of variables did not, and reports variables that seem to be
 * mistyped.
 */
export function checkVariables(env: Environment, problems: ProblemList, notices: Set<string>): void {
  const given = Object.keys(env).filter((name) => variable(env, name) !== undefined);
  for (const [name] of VARIABLES) {
    const value = variable(env, name) ?? "";
    const [what] = /^(["']).*\1$|\$\{[^}]*\}/s.exec(value) ?? [];
    if (what === undefined) continue;
    const isQuoted = what === value && !value.startsWith("$");
    const message = isQuoted ? "The value is in quotes." : `The value contains ${what}.`;
    const hint = isQuoted
      ? `Set ${name} to the value without quotes: files of variables keep them.`
      : `Set ${name} to the whole value: variables in the value of a variable are not expanded.`;
    problems.add({ kind: "environment", label: name }, [], message, hint);
  }
  const known = VARIABLES.map(([name]) => name);
  for (const name of given) {
    if (!/^cairn_/i.test(name) || known.includes(name) || OTHERS.test(name)) continue;
    const near = nearestName(name, known);
    if (near !== undefined) notices.add(`${name} has no effect. ${didYouMean(near)}`);
  }
}

/** The variables that commands read, and those that Kubernetes sets for a service that is named cairn. */
const OTHERS = /^CAIRN_(?:URL|AUTH_TOKEN|CA|CERT|KEY|PORT(?:_.*)?|SERVICE_.*)$/;

/** An empty value counts as unset, because that is how compose files and unit files pass unset variables. */
function variable(env: Environment, name: string): string | undefined {
  const value = env[name];
  return value === "" ? undefined : value;
}

function variableTree(env: Environment, places: readonly (readonly [string, readonly string[]])[]): MapNode {
  const trees = places.flatMap(([name, path]) => {
    const value = variable(env, name);
    return value === undefined
      ? []
      : [nest(path, { type: "string", text: value, origin: { kind: "environment", label: name } })];
  });
  return mergeTrees([emptyMap({ kind: "environment", label: "environment" }), ...trees]);
}

function nest([first = "", ...rest]: readonly string[], leaf: ConfigNode): MapNode {
  return mapOfValues({ [first]: rest.length === 0 ? leaf : nest(rest, leaf) }, leaf.origin);
}

/** Returns the path at which a value is written. A string that names a top-level key leads to that key. */
function locate(root: MapNode, path: readonly string[]): readonly string[] {
  let real: readonly string[] = [];
  for (const name of path) {
    real = [...real, name];
    const node = findNode(root, ...real);
    if (node?.type !== "string" && node?.type !== "keyword" && node?.type !== "symbol") continue;
    const shared = normalizeName(node.text);
    if (findEntry(root, shared) !== undefined) real = [shared];
  }
  return real;
}

function moduleAt(root: MapNode, path: readonly string[]): string | undefined {
  const node = findNode(root, ...path);
  const name = node?.type === "map" ? findEntry(node, "cairn/module")?.value : node;
  if (name?.type !== "string" && name?.type !== "symbol") return undefined;
  const older = olderModule(name.text);
  return older !== undefined && "id" in older ? older.id : name.text;
}

/**
 * Merges trees, weakest first. Maps are merged key by key, and other values are replaced as a whole. A `null` in a
 * stronger source removes a value. Each leaf keeps its origin, and each entry records the value that it replaced.
 */
function mergeTrees(trees: readonly MapNode[], gone: ConfigNode[] = []): MapNode {
  return trees.reduce((weak, strong) => mergeMaps(weak, strong, gone), emptyMap(DEFAULT_ORIGIN));
}

function mergeMaps(weak: MapNode, strong: MapNode, gone: ConfigNode[]): MapNode {
  const entries = new Map<string, ConfigEntry>(weak.entries.map((entry) => [entry.name, entry]));
  for (const entry of strong.entries) {
    const below = entries.get(entry.name);
    entries.set(entry.name, below === undefined ? entry : mergeEntries(below, entry, gone));
  }
  return {
    type: "map",
    entries: [...entries.values()],
    origin: unwritten(weak) ? strong.origin : weak.origin,
  };
}

function mergeEntries(weak: ConfigEntry, strong: ConfigEntry, gone: ConfigNode[]): ConfigEntry {
  let below = weak.value;
  // A module's short form (`"cairn.memory/->kv-store"`) is a map to which the stronger source may add parameters.
  if (below.type === "symbol" || below.type === "string" || below.type === "keyword")
    below = mapOfValues({ "cairn/module": below }, below.origin);
  // A value of another type cannot be merged with the map, so the stronger source replaces it.
  if (strong.value.type !== "map" || below.type !== "map") {
    gone.push(weak.value);
    return { ...strong, replaced: weak.value };
  }
  return { ...(unwritten(below) ? strong : weak), value: mergeMaps(below, strong.value, gone) };
}

/** Returns whether a map is empty or a default. The other map's origin then counts, where problems can be corrected. */
function unwritten(tree: MapNode): boolean {
  return tree.entries.length === 0 || tree.origin.kind === "default";
}
