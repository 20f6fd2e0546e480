import { readlinkSync, realpathSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import type { Policies } from "@cairn/client";
import { fileOf, readSources, type ConfigInput } from "./config-sources.ts";
import { emptyMap, findEntry } from "./source/config-tree.ts";
import { checkVariables, mergeSources, newReading } from "./merged-sources.ts";
import type { ModuleUse } from "./types/module-kinds.ts";
import { readModule } from "./modules/module-type.ts";
import { logBackupTxLog, MODULES } from "./modules/modules.ts";
import type { Expanded } from "./source/interpolate.ts";
import { ConfigError, ProblemList, type ConfigProblem } from "./source/problems.ts";
import { type Reading, type Setting, Value } from "./types/reading.ts";
import { systemErrorCode } from "@cairn/kv";
import { ownMember } from "@cairn/text";
import { type HttpOptions, dbDirLayout, TOKEN_PATTERN } from "@cairn/engine";
import {
  checkTopLevelKeys,
  indexStoreParameters,
  type NamedIndex,
  nodeParameters,
  readHttp,
  readIndexes,
  readPolicies,
  readTopLevel,
} from "./top-level.ts";
import { TOP_LEVEL_ALIASES } from "./modules/aliases.ts";

/** All defaults and variables are applied, and nothing has been started. `createSystem` creates a node's parts. */
export interface ResolvedConfig {
  readonly nodeId: string;
  /** The node's folder. It is absolute, like every path here. */
  readonly dir: string;
  readonly dbDir: string;
  readonly txLog: ModuleUse<"tx-log">;
  readonly kvStore: ModuleUse<"kv-store">;
  readonly http: HttpOptions | undefined;
  readonly policies: Policies | undefined;
  readonly indexes: readonly NamedIndex[];
  readonly origin: ConfigOrigin;
  /** Every effective value with its origin, in the order of the configuration. */
  readonly settings: readonly Setting[];
  /** Sentences for the operator about older names and about variables that have no effect. */
  readonly notices: readonly string[];
}

export interface ConfigOrigin {
  /** The absolute path of the file, if there is one. */
  readonly file: string | undefined;
  readonly cwd: string;
  /** Whether other sources were given. */
  readonly isInline: boolean;
  readonly expanded: Expanded;
  readonly libraryVariables: ReadonlyMap<string, string>;
}

export type ConfigResult =
  | { readonly ok: true; readonly config: ResolvedConfig }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** Nothing is started, created or deleted, but users' modules are imported to check that they exist. */
export async function readConfig(given: ConfigInput): Promise<ConfigResult> {
  // White space around a value means nothing: it is often the line break of the file with a secret.
  const trimmed = Object.entries(given.env).map(([name, value]) => [name, value?.trim()] as const);
  const input = { ...given, env: Object.fromEntries(trimmed) };
  const problems = new ProblemList();
  const notices = new Set<string>();
  checkVariables(input.env, problems, notices);
  const sources = await readSources(input, problems);
  if (!problems.onlyUnfilled) return { ok: false, problems: problems.inOrder() };
  const reading = newReading(mergeSources(sources, input, notices), input, problems, notices, MODULES);
  const node = readTopLevel("cairn/node", nodeParameters, reading);
  const config = readParts(node === undefined ? reading : { ...reading, node });
  if (reading.isForNode) checkTokenVariables(reading);
  // These checks come last, because a module runs when it is imported.
  for (const check of reading.checks) await check();
  if (config === undefined || problems.problems.length > 0)
    return { ok: false, problems: problems.inOrder() };
  const file = fileOf(input);
  const isInline = [input.object, input.json, input.edn].some((source) => source !== undefined);
  const { expanded } = sources;
  const { settings } = reading;
  const libraryVariables = new Map(
    [...reading.libraryVariables].map((name) => [name, input.env[name] ?? ""]),
  );
  const absolute = file && resolve(input.cwd, file);
  const origin = { file: absolute, cwd: input.cwd, isInline, expanded, libraryVariables };
  return { ok: true, config: { ...config, origin, settings, notices: [...notices] } };
}

/** Returns the configuration of a result. Throws {@link ConfigError} with all problems if there are any. */
export function requireConfig(result: ConfigResult): ResolvedConfig {
  if (result.ok) return result.config;
  throw new ConfigError(result.problems);
}

function readParts(reading: Reading): Omit<ResolvedConfig, "origin" | "settings" | "notices"> | undefined {
  const empty = emptyMap(reading.root.origin);
  const logNode = findEntry(reading.root, "cairn/tx-log")?.value ?? empty;
  const txLog = readModule(
    "tx-log",
    new Value(logNode.type === "null" ? empty : logNode, ["cairn/tx-log"], reading),
  );
  const index = readTopLevel("cairn/index-store", indexStoreParameters, reading);
  const http = readHttp(reading);
  const policies = readPolicies(reading);
  const indexes = readIndexes(reading);
  checkTopLevelKeys(reading);
  if (txLog === undefined || index === undefined || http === undefined || indexes === undefined)
    return undefined;

  const { kvStore } = index;
  const { id: nodeId, dir } = reading.node;
  const { dbDir } = kvStore.common;
  checkIndexFolders(dbDir, reading);
  checkLogBackup(txLog, kvStore, reading);
  return { nodeId, dir, dbDir, txLog, kvStore, http: http === false ? undefined : http, policies, indexes };
}

/** A log or a store there would be removed when the folder is swept, or moved to quarantine with the index. */
function checkIndexFolders(dbDir: string, { settings, problems }: Reading): void {
  const { capture, ...others } = dbDirLayout(dbDir);
  const own = Object.values(others);
  for (const { path, value, origin, isPath } of settings) {
    if (isPath !== true || typeof value !== "string") continue;
    // The checkpoint-dir may be the capture folder, because that folder has no other purpose.
    const reserved = path.at(-1) === "checkpoint-dir" ? own : [...own, capture];
    const taken = reserved.find((folder) => leadsInto(value, folder));
    if (taken === undefined) continue;
    const message = `${taken} belongs to the index, and the node removes and moves its contents.`;
    problems.add(origin, path, message, `Choose a place outside the folder of the index, ${dbDir}.`);
  }
}

function leadsInto(place: string, folder: string): boolean {
  return isWithin(place, folder) || isWithin(behindLinks(place), behindLinks(folder));
}

/** Returns the place to which a path leads. The links of its folders count even if what they lead to is missing. */
function behindLinks(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    const parent = dirname(path);
    if (systemErrorCode(error) !== "ENOENT" || parent === path) return path;
    const place = join(behindLinks(parent), basename(path));
    try {
      return behindLinks(resolve(dirname(place), readlinkSync(place)));
    } catch {
      return place;
    }
  }
}

/** Checks the parameters of the log's backup against those of the log, because both are known only here. */
function checkLogBackup(
  txLog: ModuleUse<"tx-log">,
  { common }: ModuleUse<"kv-store">,
  { settings, problems }: Reading,
): void {
  const every = settings.find(({ path }) => path.at(-2) === "log-backup" && path.at(-1) === "every");
  const isBackedUp = common.checkpointer?.common.logBackup !== undefined;
  if (isBackedUp && every !== undefined && txLog.id === logBackupTxLog.id) {
    const message = "This node reads its log from a backup, so it cannot back the log up.";
    const hint = "Remove log-backup from the checkpointer. The nodes that write the log back it up.";
    problems.add(every.origin, every.path.slice(0, -1), message, hint);
  }
}

function checkTokenVariables({ settings, problems, env }: Reading): void {
  for (const { path, value, origin } of settings) {
    if (path[1] !== "tokens" || path[3] !== "env") continue;
    const text = ownMember(env, String(value)) ?? "";
    if (TOKEN_PATTERN.test(text)) continue;
    const found = text === "" ? "is not set" : "contains no token";
    const hint =
      "Set it to a token: visible ASCII characters without blanks, such as the output of openssl rand -hex 32.";
    problems.add(origin, path, `The environment variable ${String(value)} ${found}.`, hint);
  }
}

/** Returns whether an absolute path is a folder or in it. */
export function isWithin(place: string, folder: string): boolean {
  const path = relative(folder, place);
  return path !== ".." && !path.startsWith(`..${sep}`);
}

/**
 * Reads only the HTTP server's part of a configuration, for clients; undefined if there is none. Ignores problems of
 * other parts and of the parameters in `except`, and imports no modules. Throws {@link ConfigError}.
 */
export async function readHttpServer(
  input: ConfigInput,
  except: readonly string[],
): Promise<HttpOptions | undefined> {
  const problems = new ProblemList();
  const notices = new Set<string>();
  const sources = await readSources(input, problems);
  const http = readHttp(newReading(mergeSources(sources, input, notices), input, problems, notices, []));
  const about = problems.inOrder().filter(({ path: [top = "", parameter = ""] }) => {
    const isServer = (TOP_LEVEL_ALIASES.get(top) ?? top) === "cairn/http-server";
    return top === "" || (isServer && !except.includes(parameter));
  });
  if (http === undefined || about.length > 0)
    throw new ConfigError(about.length > 0 ? about : problems.inOrder());
  return http === false ? undefined : http;
}
