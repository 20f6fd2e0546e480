import { olderModule } from "./modules/aliases.ts";
import { emptyMap, findEntry, normalizeName } from "./source/config-tree.ts";
import type { ConfigNode, MapNode, Origin } from "./source/config-tree.ts";
import type { Environment } from "./source/interpolate.ts";
import { mergeTrees } from "./source/merge.ts";

const EMPTY: Origin = { kind: "environment", label: "environment" };

/** What the environment says of the node itself, wherever the rest of the configuration lies. */
export function nodeFromEnvironment(env: Environment): MapNode {
  return layers(env, [
    ["CAIRN_DIR", ["cairn/node", "dir"]],
    ["CAIRN_NODE_ID", ["cairn/node", "id"]],
  ]);
}

/**
 * The environment as a tree to lay over the file. `merged` is the configuration without it: where the index, the store and the log
 * stand in it decides where their variables go. A variable that has nothing to override is told in a notice.
 */
export function environmentTree(env: Environment, merged: MapNode, notices: Set<string>): MapNode {
  const places: [string, readonly string[]][] = [];
  const kvStore = locate(merged, ["cairn/index-store", "kv-store"]);
  places.push(["CAIRN_INDEX_PATH", [...kvStore, "db-dir"]]);

  const store = locate(merged, ["cairn/index-store", "kv-store", "checkpointer", "store"]);
  const storeModule = moduleAt(merged, store);
  if (storeModule === "cairn.checkpoint/->filesystem-checkpoint-store")
    places.push(["CAIRN_CHECKPOINT_PATH", [...store, "path"]]);
  else
    noEffect(
      "CAIRN_CHECKPOINT_PATH",
      "there is no filesystem checkpoint store whose path it could be",
      env,
      notices,
    );

  const log = locate(merged, ["cairn/tx-log"]);
  const logModule = moduleAt(merged, log);
  if (logModule === "cairn.nats/->tx-log") places.push(["NATS_URL", [...log, "servers"]]);
  else noEffect("NATS_URL", "the transaction log is not a NATS log", env, notices);

  // A token or port in the environment of every process does not turn on a server that the file turned off.
  const http = at(merged, ["cairn/http-server"]);
  if (http?.type !== "null" && http?.type !== "boolean") {
    places.push(["CAIRN_HTTP_HOST", ["cairn/http-server", "host"]]);
    places.push(["CAIRN_HTTP_PORT", ["cairn/http-server", "port"]]);
    places.push(["CAIRN_AUTH_TOKEN", ["cairn/http-server", "auth-token"]]);
  }
  return mergeTrees([nodeFromEnvironment(env), layers(env, places)], emptyMap(EMPTY));
}

/** A variable's value; an empty one counts as not set, as compose files and unit files write it. */
export function variable(env: Environment, name: string): string | undefined {
  const value = env[name];
  return value === "" ? undefined : value;
}

function layers(env: Environment, places: readonly (readonly [string, readonly string[]])[]): MapNode {
  const trees = places.flatMap(([name, path]) => {
    const text = variable(env, name);
    return text === undefined
      ? []
      : [nest(path, { type: "string", text, origin: { kind: "environment", label: name } })];
  });
  return mergeTrees(trees, emptyMap(EMPTY));
}

function nest(path: readonly string[], leaf: ConfigNode): MapNode {
  const { origin } = leaf;
  const [first = "", ...rest] = path;
  const value = rest.length === 0 ? leaf : nest(rest, leaf);
  return { type: "map", entries: [{ name: first, nameOrigin: origin, value }], origin };
}

/** The path at which a value really stands: a text that names a top-level key leads there. */
function locate(root: MapNode, path: readonly string[]): readonly string[] {
  let real: readonly string[] = [];
  for (const name of path) {
    real = [...real, name];
    const node = at(root, real);
    if (node?.type !== "string" && node?.type !== "keyword" && node?.type !== "symbol") continue;
    const shared = normalizeName(node.text);
    if (findEntry(root, shared) !== undefined) real = [shared];
  }
  return real;
}

function at(root: MapNode, path: readonly string[]): ConfigNode | undefined {
  let node: ConfigNode | undefined = root;
  for (const name of path) node = findEntry(node, name)?.value;
  return node;
}

function moduleAt(root: MapNode, path: readonly string[]): string | undefined {
  const node = at(root, path);
  const name = node?.type === "map" ? findEntry(node, "cairn/module")?.value : node;
  if (name?.type !== "string" && name?.type !== "symbol") return undefined;
  const older = olderModule(name.text);
  return older !== undefined && "id" in older ? older.id : name.text;
}

function noEffect(name: string, why: string, env: Environment, notices: Set<string>): void {
  if (variable(env, name) !== undefined) notices.add(`${name} has no effect: ${why}.`);
}
