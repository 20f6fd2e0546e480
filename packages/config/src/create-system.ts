import { resolve } from "node:path";
import type { NamedIndex } from "./top-level.ts";
import type { ModuleContext } from "./types/module-kinds.ts";
import { SECRET, type Setting } from "./types/reading.ts";
import { INLINE, namedCommand, omitUndefined, shellWord } from "@cairn/text";
import { isWithin, type ResolvedConfig } from "./read-config.ts";
import type { OwnIndexOptions, System } from "@cairn/engine";

/** The default time for which segments of a log backup are kept if the log itself is not trimmed. */
const DEFAULT_KEEP_MS = 7 * 24 * 3_600_000;

/** Creates a node's parts from its configuration. Built-in parts have no side effects until they are used; users' modules may have some. */
export async function createSystem(
  config: ResolvedConfig,
  options: { readonly onNotice?: (sentence: string) => void } = {},
): Promise<System> {
  const { nodeId, dir, dbDir, txLog, kvStore, http, policies, indexes } = config;
  const onNotice = options.onNotice ?? (() => {});
  const context: ModuleContext = { nodeId, dir, dbDir, onNotice };
  const { checkpointer, scrubEvery, attach } = kvStore.common;
  const { onLogMismatch, trim } = txLog.common;
  // This creates only the function that opens the log. A node or a command calls the function.
  const openTxLog = await txLog.create(context);
  const checkpoints = await checkpointer?.create(context);
  return {
    nodeId,
    dir,
    dbDir,
    commandLine: (command) => commandLine(command, config),
    openTxLog,
    onLogMismatch,
    kvProvider: await kvStore.create(context),
    attach,
    checkpointer: checkpoints?.store === undefined ? undefined : checkpoints,
    http,
    ...omitUndefined({
      restoreFrom: checkpoints?.store === undefined ? checkpoints?.restoreFrom : undefined,
      logName: openTxLog.logName,
      trim,
      waitForStoreMs: checkpointer?.common.waitForStore,
      scrubEvery: scrubEvery === "never" ? undefined : scrubEvery,
      logBackup: checkpointer?.common.logBackup && {
        keep: trim === undefined ? DEFAULT_KEEP_MS : ("all" as const),
        ...checkpointer.common.logBackup,
        codec: checkpointer.common.compression,
      },
      policies,
      ownIndexes:
        indexes.length === 0
          ? undefined
          : await Promise.all(indexes.map((index) => ownIndex(index, context))),
    }),
  };
}

async function ownIndex([name, use]: NamedIndex, context: ModuleContext): Promise<OwnIndexOptions> {
  const { version, ready, checkpoint, buckets } = use.common;
  const part = await use.create(context);
  return { name, version, ready, checkpoint, ...omitUndefined({ buckets }), ...part };
}

/** With a configuration, these commands read its store, and ask no node. */
const READING_THE_STORE: ReadonlySet<string> = new Set(["checkpoint list", "checkpoint show"]);

/** Relative paths in a configuration are resolved from the working directory. Commands need no default `dir`. */
function commandLine(command: string, { origin, settings, http }: ResolvedConfig): string {
  const { file, cwd, isInline, expanded, libraryVariables } = origin;
  const { words = command, rest = "", asksNode = false } = namedCommand(command) ?? {};
  const asks = asksNode && !READING_THE_STORE.has(words);
  // Without a server, no command can ask the node, and the configuration does not show which port is free.
  if (asks && (http === undefined || http.port === 0))
    return `cairn ${words}${http === undefined ? "" : " --url URL"}${rest}`;
  const isRelative = settings.some(
    ({ path: [top], value, origin: { kind }, isPath, isRelative: isWritten }) =>
      (isWritten === true && kind !== "environment") ||
      (isPath === true && top !== "cairn/node" && typeof value === "string" && isWithin(value, cwd)),
  );
  const folder = isRelative ? `cd ${shellWord(cwd)} && ` : "";
  const assigned = new Set(
    settings.map(({ origin: { kind, label } }) => (kind === "environment" ? label : "")),
  );
  const variables = [
    ...settings.map((setting) => assignmentOf(setting, asks)),
    ...[...expanded].map(([name, value]) => (assigned.has(name) ? "" : expandedAs(name, value, settings))),
    ...[...libraryVariables].map(([name, value]) =>
      expanded.has(name) || value === "" ? "" : libraryAs(name, value, cwd),
    ),
  ].join("");
  // Without any configuration, these commands would ask the node of the shell's environment.
  const given = file === undefined && asksNode && !isInline ? " -j '{}'" : "";
  const options = `${file === undefined ? "" : ` -f ${shellWord(file)}`}${isInline ? ` ${INLINE}` : ""}${given}`;
  return `${folder}${variables}cairn ${words}${options}${rest}`;
}

/** A variable that the configuration expands. What it does not show there is a secret, which comes from the shell. */
function expandedAs(name: string, value: string, settings: readonly Setting[]): string {
  const isShown = settings.some(({ value: shown }) =>
    [shown].flat().some((one) => String(one).includes(value)),
  );
  return `${name}=${isShown && !value.includes("@") ? shellWord(value) : `"\${${name}:?}"`} `;
}

/** An address may contain a password. Libraries resolve the names of files from the working directory. */
function libraryAs(name: string, value: string, cwd: string): string {
  const isFile = /_(?:FILE|CERTS)$/.test(name);
  const isSecret = !isFile && /[@?#]/.test(value);
  return `${name}=${isSecret ? `"\${${name}:?}"` : shellWord(isFile ? resolve(cwd, value) : value)} `;
}

/**
 * Passwords in addresses come from the shell's environment, which is not the node's. If they are not set there, the
 * shell refuses the command, which would otherwise concern another log.
 */
function assignmentOf(
  { path: [top], value, origin: { kind, label }, isPath }: Setting,
  asks: boolean,
): string {
  if (kind !== "environment" || (top === "cairn/http-server" && !asks)) return "";
  const text = [value].flat().join(",");
  const isSecret = isPath !== true && (text.includes("@") || text === SECRET);
  return `${label}=${isSecret ? `"\${${label}:?}"` : shellWord(text)} `;
}
