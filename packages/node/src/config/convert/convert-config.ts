import { readFileTree } from "../config-sources.ts";
import { readConfig } from "../read-config.ts";
import { placeOf } from "../source/config-tree.ts";
import { ConfigError, type ConfigProblem, ProblemList } from "../source/problems.ts";
import { OWN_MACHINE_ONLY } from "../top-level.ts";
import { type ConvertedMap, everyEntry, nearestEntry, plainOf } from "./converted-tree.ts";
import { leftOut, translateNames } from "./translate-names.ts";
import { writeEdn } from "./write-edn.ts";

/** The two in which a configuration file may be written. */
export type Language = "edn" | "json";

/** A configuration of Cairn that was made of one of an older system. */
export interface ConvertedConfig {
  /** What {@link readConfig} accepts once the variables in it are set. */
  readonly root: ConvertedMap;
  /** About all of it. */
  readonly notes: readonly string[];
}

/** What is to be said about a part of it: where it stood, what it is called here, and sentences. */
export interface ConversionNote {
  readonly place: string;
  readonly path: readonly string[];
  readonly note: string;
}

const DATA = [
  "Only the configuration is converted, not the data: Cairn reads no index, log, document store or checkpoint of Crux or XTDB, and begins an empty log of its own, from which its index is built.",
  "Take the documents over with cairn load (docs/configuration.md, Coming from XTDB), and give this node folders of its own: db-dir and path must not be those of Crux or XTDB.",
];

/**
 * Converts a file of Crux or XTDB 1.x. What the checker refuses is left out and becomes a note, until it refuses nothing: its tables are
 * the only ones that say what has no counterpart. Variables stay as they are written. Throws {@link ConfigError} where it cannot be read.
 */
export async function convertConfig(file: string, cwd: string, language: Language): Promise<ConvertedConfig> {
  const problems = new ProblemList();
  const tree = await readFileTree(file, cwd, problems);
  if (tree === undefined) throw new ConfigError(problems.inOrder());
  const root = translateNames(tree);
  for (;;) {
    // Without an environment: what a variable will give cannot be judged, nor may one hide what is wrong.
    const result = await readConfig({ object: plainOf(root), env: {}, cwd });
    const [problem] = result.ok ? [] : result.problems.filter(({ message }) => !UNSET.test(message));
    if (problem === undefined) break;
    settle(root, problem);
  }
  tellDefaults(root, language);
  return { root, notes: DATA };
}

const UNSET = /^The environment variable \S+ is not set\.$/;
const BETTER = /^Did you mean (P[0-9A-Z.,]+)\?/;

/** Puts in what the checker says was meant, where that is a duration; else takes out what it refuses. */
function settle(root: ConvertedMap, { path, message, hint = "" }: ConfigProblem): void {
  // A map without its module would be another module's.
  const entry = nearestEntry(root, path.at(-1) === "cairn/module" ? path.slice(0, -1) : path);
  if (entry === undefined) throw new Error(`what is refused is not there: ${path.join(" > ")}: ${message}`);
  const [, meant] = BETTER.exec(hint) ?? [];
  if (meant !== undefined && entry.value?.type === "string") {
    entry.notes.push(`${message} ${meant} is taken for what was meant.`);
    entry.value = { type: "string", text: meant };
    return;
  }
  entry.notes.push(leftOut(entry.name, message, hint));
  entry.value = undefined;
}

/** Says what the older systems did otherwise where nothing is written. */
function tellDefaults(root: ConvertedMap, language: Language): void {
  const log = nearestEntry(root, ["cairn/tx-log"]);
  if (log?.value === undefined) {
    absent(root, "cairn/tx-log").push(
      "No log is named here: without NATS_URL in its environment this node has an embedded log, which is its own alone. For a cluster set NATS_URL for every node, or write:",
      NATS_FORM[language],
    );
  } else if (log.value.type === "map" && moduleOf(log.value) !== "cairn.nats/->tx-log") {
    log.notes.push(
      "An embedded log is for a single node. For a cluster write in its place:",
      NATS_FORM[language],
    );
  }
  const server = nearestEntry(root, ["cairn/http-server"]);
  if (server?.value === undefined) {
    absent(root, "cairn/http-server").push(
      `No HTTP server is configured; Cairn serves 127.0.0.1:3000 all the same (${NO_SERVER[language]} turns it off).`,
    );
  } else if (server.value.type === "map" && nearestEntry(server.value, ["host"]) === undefined) {
    server.notes.push(`The server of Crux and XTDB listens on all addresses; this one ${OWN_MACHINE_ONLY}`);
  }
}

/** Ready to be put in. */
const NATS_FORM = {
  edn: ':cairn/tx-log {:cairn/module cairn.nats/->tx-log :servers "${NATS_URL}"}',
  json: '"cairn/tx-log": {"cairn/module": "cairn.nats/->tx-log", "servers": "${NATS_URL}"}',
} as const;

const NO_SERVER = { edn: ":cairn/http-server nil", json: '"cairn/http-server": null' } as const;

function moduleOf(map: ConvertedMap): string | undefined {
  const module = nearestEntry(map, ["cairn/module"])?.value;
  return module !== undefined && "text" in module ? module.text : undefined;
}

/** The notes of a top-level key that is not there. */
function absent(root: ConvertedMap, name: string): string[] {
  const notes: string[] = [];
  root.entries.push({ name, origin: { kind: "default", label: "default" }, value: undefined, notes });
  return notes;
}

/** The notes of a conversion, those about all of it first. */
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

/** The configuration in one of the two languages; in EDN with its notes as comments, which JSON does not have. */
export function writeConverted({ root, notes }: ConvertedConfig, language: Language): string {
  return language === "edn" ? writeEdn(root, notes) : JSON.stringify(plainOf(root), undefined, 2);
}
