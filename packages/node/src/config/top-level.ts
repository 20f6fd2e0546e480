import { hostname } from "node:os";
import { OLDER_PARAMETERS, TOP_LEVEL_ALIASES, olderModule, olderTopLevelHint } from "./modules/aliases.ts";
import { emptyMap, findEntry, placeOf } from "./source/config-tree.ts";
import type { ConfigEntry, ConfigNode, MapNode } from "./source/config-tree.ts";
import { omitUndefined } from "./source/omit-undefined.ts";
import { moduleOf } from "./modules/module-type.ts";
import type { ModuleKind } from "./types/module-kinds.ts";
import { didYouMean, nearestName } from "../text/nearest-name.ts";
import { derived, optional, secret, withDefault } from "./types/parameter.ts";
import { readParameters } from "./types/read-parameters.ts";
import { expected, type Parameters, type ParameterValues } from "./types/reading.ts";
import type { Reading } from "./types/reading.ts";
import type { HttpOptions } from "../system/system.ts";
import { duration } from "./types/duration-type.ts";
import { integer, listOf, path, text, textLike } from "./types/value-types.ts";

/** `cairn/node`. The id becomes part of file names and manifests, so it must be safe in both on every system. */
export const nodeParameters = {
  id: derived(
    textLike(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/,
      "a name of letters, digits, dots, hyphens and underscores, 128 at most",
    ),
    () =>
      hostname()
        .replace(/[^A-Za-z0-9._-]/g, "-")
        .replace(/^[._-]+/, "") || "node",
    "The node's name: on checkpoints that it saves, in its folders, in /status. Different on each node.",
    "the host name",
  ),
  dir: derived(
    path(),
    ({ cwd }) => `${cwd}/cairn-data`,
    "The folder for what the node keeps on its own disk.",
    '`"./cairn-data"`',
  ),
};

/** `cairn/index-store`. */
export const indexStoreParameters = {
  "kv-store": optional(
    moduleOf("kv-store"),
    "Where the index lies.",
    "`cairn.leveldb/->kv-store` without checkpoints",
  ),
};

/** `cairn/http-server`. */
export const httpParameters = {
  host: withDefault(text(), "127.0.0.1", "The address to listen at; `0.0.0.0` and `::` listen at all."),
  port: withDefault(integer(0, 65_535), 3000, "The port to listen at; 0 takes any free one."),
  "auth-token": secret(
    "What requests must carry as `Authorization: Bearer`; never printed.",
    "none: all may ask",
  ),
  "max-body": withDefault(
    integer(1024, 256 * 1024 * 1024),
    1_048_576,
    "The largest body of a request, in bytes.",
  ),
  "cors-origins": optional(
    listOf(textLike(/^(?:https?:\/\/[^/\s*]+|\*)$/, 'an origin such as "https://dash.example", or "*"')),
    'Origins whose pages a browser lets ask this node; `"*"`: every page.',
    "none",
  ),
  "allowed-hosts": optional(
    listOf(textLike(/^[A-Za-z0-9.-]+$/, "a host name without a port")),
    "Names besides `localhost`, `127.0.0.1`, `[::1]` and `host` that requests may be addressed to; only asked where there is no `auth-token` and `host` is this machine's own.",
    "none",
  ),
  drain: optional(
    duration(),
    "How long a node that is told to stop goes on answering, while `/health/ready` says 503 and every answer ends its connection, so that a proxy sends its requests to others.",
    "it stops at once",
  ),
};

/** Top-level keys of the configuration, with what each is for. */
export const TOP_LEVEL_KEYS: Readonly<Record<string, string>> = {
  "cairn/node": "The node itself.",
  "cairn/tx-log": "The transaction log: a module.",
  "cairn/index-store": "The index, with its checkpoints.",
  "cairn/http-server": "The HTTP server; `null` for none.",
  "cairn/policies": "Policies to set in a log that has none.",
};

/** One source with the names of older systems for top-level keys replaced by ours. A source that has both keeps both, and is told. */
export function renameTopLevel(root: MapNode, notices: Set<string>): MapNode {
  const entries = root.entries.map((entry): ConfigEntry => {
    const name = TOP_LEVEL_ALIASES.get(entry.name);
    if (name === undefined || findEntry(root, name) !== undefined) return entry;
    const taken = `${entry.name} (${placeOf(entry.nameOrigin)}) is taken for ${name}`;
    const hasHost = findEntry(entry.value, "host") !== undefined;
    notices.add(hasHost ? `${taken}.` : `${taken}, which ${OWN_MACHINE_ONLY}`);
    return { ...entry, name };
  });
  return { ...root, entries };
}

/** The older systems gave their servers no address, which means all of them. */
export const OWN_MACHINE_ONLY =
  'listens on 127.0.0.1 alone unless "host" says otherwise ("0.0.0.0" for all addresses; then set an auth-token).';

/** Reads a top-level map that holds parameters. */
export function readTopLevel<P extends Parameters>(
  name: string,
  parameters: P,
  reading: Reading,
): ParameterValues<P> | undefined {
  const node = findEntry(reading.root, name)?.value;
  const map = node === undefined || node.type === "null" ? emptyMap(reading.root.origin) : node;
  if (map.type !== "map")
    return expected(map, [name], reading, `a map with ${Object.keys(parameters).join(", ")}`);
  return readParameters(parameters, map, [name], reading, { what: name, hints: OLDER_PARAMETERS });
}

/** Reads `cairn/http-server`; false when it is turned off, undefined when it is wrong. */
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
      `No HTTP server is configured; this node serves ${values.host}:${values.port} all the same ("cairn/http-server": null turns it off).`,
    );
  }
  return omitUndefined({
    host: values.host,
    port: values.port,
    maxBody: values["max-body"],
    authToken: values["auth-token"],
    corsOrigins: values["cors-origins"],
    allowedHosts: values["allowed-hosts"],
    drainMs: values.drain,
  });
}

/** Adds a problem for every top-level key that nothing reads. To be called when all else was read. */
export function checkTopLevelKeys(reading: Reading): void {
  const known = Object.keys(TOP_LEVEL_KEYS);
  for (const { name, nameOrigin, value, replaced } of reading.root.entries) {
    if (known.includes(name) || reading.shared.has(name) || reading.refused.has(name)) continue;
    // What takes away nothing may be a slip in the name of what it should: a server that was to be off would be on.
    if (value.type === "null" && replaced !== undefined) continue;
    // Where editors look for what `cairn config schema` prints; nothing to a node.
    if (name === "$schema" && value.type === "string") continue;
    const alias = TOP_LEVEL_ALIASES.get(name);
    if (alias !== undefined) {
      const message = `${name} means ${alias}, which is there as well.`;
      reading.problems.add(nameOrigin, [name], message, { hint: "Keep one of the two.", older: true });
      continue;
    }
    const older = olderTopLevelHint(name);
    if (older !== undefined) {
      reading.problems.add(nameOrigin, [name], `${name} has no counterpart: ${older.message}`, {
        hint: older.hint,
        older: true,
      });
      continue;
    }
    const isModule = findEntry(value, "cairn/module") !== undefined;
    // The text that should name it may be one whose variable is not set.
    if (isModule && reading.problems.someUnfilled) continue;
    const near = nearestName(name, known) ?? nearestWithoutNamespace(name, known);
    if (isModule && near === undefined) {
      const place = PLACES.get(kindOf(value, reading) ?? "");
      reading.problems.add(nameOrigin, [name], `No parameter names the module ${name}.`, {
        hint: `Write "${name}" ${place === undefined ? "where the module is to be used" : `at ${place}`}, or leave it out.`,
      });
      continue;
    }
    const place = PLACES.get(name);
    const hint = place === undefined ? `Known: ${known.join(", ")}.` : `Move it to ${place}.`;
    reading.problems.add(nameOrigin, [name], `There is no top-level key ${name}.`, {
      hint: near === undefined ? hint : didYouMean(near),
    });
  }
}

/** Where a module of each kind is used, which is also what a part without its surroundings, as documentation shows it, belongs to. */
const PLACES: ReadonlyMap<string, string> = new Map([
  ["tx-log", "cairn/tx-log"],
  ["kv-store", "cairn/index-store > kv-store"],
  ["checkpointer", "cairn/index-store > kv-store > checkpointer"],
  ["checkpoint-store", "cairn/index-store > kv-store > checkpointer > store"],
]);

function kindOf(module: ConfigNode, reading: Reading): ModuleKind | undefined {
  const id = findEntry(module, "cairn/module")?.value;
  if (id?.type !== "string" && id?.type !== "symbol" && id?.type !== "keyword") return undefined;
  const older = olderModule(id.text);
  return reading.modules.get(older !== undefined && "id" in older ? older.id : id.text)?.kind;
}

/** Of a name without a namespace: those letters that all known names have in common must not make it look near. */
function nearestWithoutNamespace(name: string, known: readonly string[]): string | undefined {
  const near = nearestName(
    name,
    known.map((key) => key.replace("cairn/", "")),
  );
  return near === undefined ? undefined : `cairn/${near}`;
}
