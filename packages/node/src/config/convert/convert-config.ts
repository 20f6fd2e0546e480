import { readFileTree } from "../config-sources.ts";
import { readConfig } from "../read-config.ts";
import { placeOf } from "../source/config-tree.ts";
import { ConfigError, type ConfigProblem, ProblemList } from "../source/problems.ts";
import { LOOPBACK_ONLY } from "../http-parameters.ts";
import { type ConvertedMap, everyEntry, nearestEntry, plainOf } from "./converted-tree.ts";
import { removalNote, translateNames } from "./translate-names.ts";
import { writeEdn } from "./write-edn.ts";

export type Language = "edn" | "json";

/** A configuration that was converted from an older system. */
export interface ConvertedConfig {
  /** The converted configuration, which {@link readConfig} accepts once its variables are set. */
  readonly root: ConvertedMap;
  /** Notes on the whole configuration. */
  readonly notes: readonly string[];
}

/**
 * A note on a part of a configuration: its position in the file, its path in the converted configuration, and the
 * sentences of the note.
 */
export interface ConversionNote {
  readonly place: string;
  readonly path: readonly string[];
  readonly note: string;
}

const DATA = [
  "Only the configuration is converted, not the data. Cairn does not read any index, log, document store or checkpoint of Crux or XTDB. It begins an empty log, from which its index is built.",
  "Load the documents with cairn load (docs/configuration.md, Coming from XTDB), and configure separate folders for this node: db-dir and path must not be those of Crux or XTDB.",
];

/**
 * Converts a file of Crux or XTDB 1.x. Removes the values that the checker rejects, each with a note, until the checker
 * accepts the configuration, because only the checker knows which values have no counterpart. Variables are kept.
 * Throws {@link ConfigError} if the file cannot be read.
 */
export async function convertConfig(file: string, cwd: string, language: Language): Promise<ConvertedConfig> {
  const problems = new ProblemList();
  const tree = await readFileTree(file, cwd, problems);
  if (tree === undefined) throw new ConfigError(problems.inOrder());
  const root = translateNames(tree);
  for (;;) {
    // No environment is passed, because the values of variables are unknown and must not hide a problem.
    const result = await readConfig({ object: plainOf(root), env: {}, cwd });
    const [problem] = result.ok ? [] : result.problems.filter(({ message }) => !UNSET.test(message));
    if (problem === undefined) break;
    settle(root, problem);
  }
  noteDefaults(root, language);
  return { root, notes: DATA };
}

const UNSET = /^The environment variable \S+ is not set\.$/;
const SUGGESTED = /^Did you mean (P[0-9A-Z.,]+)\?/;

/** Replaces the value that the checker rejects with the duration that it suggests, or removes the value. */
function settle(root: ConvertedMap, { path, message, hint = "" }: ConfigProblem): void {
  // The whole map is removed, because without its module it would be read as the default module.
  const entry = nearestEntry(root, path.at(-1) === "cairn/module" ? path.slice(0, -1) : path);
  if (entry === undefined)
    throw new Error(`the rejected value was not found: ${path.join(" > ")}: ${message}`);
  const [, suggested] = SUGGESTED.exec(hint) ?? [];
  if (suggested !== undefined && entry.value?.type === "string") {
    entry.notes.push(`${message} It is replaced with ${suggested}.`);
    entry.value = { type: "string", text: suggested };
    return;
  }
  entry.notes.push(removalNote(entry.name, message, hint));
  entry.value = undefined;
}

/** Adds notes on defaults that differ from those of the older systems. */
function noteDefaults(root: ConvertedMap, language: Language): void {
  const log = nearestEntry(root, ["cairn/tx-log"]);
  if (log?.value === undefined) {
    absent(root, "cairn/tx-log").push(
      "No log is configured. Without NATS_URL in its environment, this node has an embedded log, which other nodes cannot share. For a cluster, set NATS_URL for every node, or write:",
      NATS_FORM[language],
    );
  } else if (log.value.type === "map" && moduleOf(log.value) !== "cairn.nats/->tx-log") {
    log.notes.push(
      "An embedded log is for a single node. For a cluster, replace it with:",
      NATS_FORM[language],
    );
  }
  const server = nearestEntry(root, ["cairn/http-server"]);
  if (server?.value === undefined) {
    absent(root, "cairn/http-server").push(
      `No HTTP server is configured, but Cairn still serves 127.0.0.1:3000 (${NO_SERVER[language]} disables the server).`,
    );
  } else if (server.value.type === "map" && nearestEntry(server.value, ["host"]) === undefined) {
    server.notes.push(`The server of Crux and XTDB listens on all addresses; this one ${LOOPBACK_ONLY}`);
  }
}

/** Configurations of the log that users can copy, by language. */
const NATS_FORM = {
  edn: ':cairn/tx-log {:cairn/module cairn.nats/->tx-log :servers "${NATS_URL}"}',
  json: '"cairn/tx-log": {"cairn/module": "cairn.nats/->tx-log", "servers": "${NATS_URL}"}',
} as const;

const NO_SERVER = { edn: ":cairn/http-server nil", json: '"cairn/http-server": null' } as const;

function moduleOf(map: ConvertedMap): string | undefined {
  const module = nearestEntry(map, ["cairn/module"])?.value;
  return module !== undefined && "text" in module ? module.text : undefined;
}

/** Adds an absent top-level key and returns its notes. */
function absent(root: ConvertedMap, name: string): string[] {
  const notes: string[] = [];
  root.entries.push({ name, origin: { kind: "default", label: "default" }, value: undefined, notes });
  return notes;
}

/** Returns the notes of a conversion. Those on the whole configuration come first. */
export function notesOf({ root, notes }: ConvertedConfig): readonly ConversionNote[] {
  const parts = [...everyEntry(root)].flatMap(({ entry, path }) =>
    entry.notes.map((note) => ({
      place: entry.origin.line === undefined ? "" : placeOf(entry.origin),
      path,
      note,
    })),
  );
  return [...notes.map((note) => ({ place: "", path: [], note })), ...parts];
}

/** Writes the configuration. In EDN, the notes become comments. JSON does not allow comments. */
export function writeConverted({ root, notes }: ConvertedConfig, language: Language): string {
  return language === "edn" ? writeEdn(root, notes) : JSON.stringify(plainOf(root), undefined, 2);
}
