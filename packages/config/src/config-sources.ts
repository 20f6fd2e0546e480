import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, extname, resolve } from "node:path";
import { systemErrorCode, errorMessage } from "@cairn/kv";
import { didYouMean, foreignText, nearestName } from "@cairn/text";
import { type MapNode, type Origin, describeNode } from "./source/config-tree.ts";
import { type Environment, type Expanded, interpolate } from "./source/interpolate.ts";
import { readJson, objectTree } from "./source/json.ts";
import type { ProblemList } from "./source/problems.ts";
import { MAX_SOURCE_BYTES, SourceText } from "./source/source-text.ts";

/** The sources of a configuration (docs/configuration.md). */
export interface ConfigInput {
  /** Relative to `cwd`. Defaults to `cairn.edn` or `cairn.json` in `cwd`, if one exists and there is no `object`. */
  readonly file?: string;
  /** The argument of `-e`. */
  readonly edn?: string;
  /** The argument of `-j`. */
  readonly json?: string;
  /** The argument of `startNode`: the keys of JSON, with values that may also be luxon Durations and parts. */
  readonly object?: unknown;
  readonly env: Environment;
  readonly cwd: string;
  /** Whether a node is started with it, or could be: only a node needs its tokens' variables and its indexes' drivers. */
  readonly isForNode?: boolean;
}

/** The trees of the sources, in which variables have been expanded. The tree of an absent source is undefined. */
export interface ConfigSources {
  /** The file and the object, weakest first. */
  readonly base: readonly MapNode[];
  readonly json: MapNode | undefined;
  readonly edn: MapNode | undefined;
  readonly expanded: Expanded;
}

const DEFAULT_FILES = ["cairn.edn", "cairn.json"];

export async function readSources(input: ConfigInput, problems: ProblemList): Promise<ConfigSources> {
  const expanded: Expanded = new Map();
  const finish = (tree: MapNode | undefined): MapNode | undefined => {
    const filled = tree === undefined ? undefined : interpolate(tree, input.env, problems, expanded);
    return filled?.type === "map" ? filled : undefined;
  };
  const file = finish(await readFile(input, problems));
  const object =
    input.object === undefined ? undefined : finish(asMap(objectTree(input.object, problems), problems));
  const json =
    input.json === undefined
      ? undefined
      : await textTree(new SourceText("json", "-j", input.json), "json", problems);
  const edn =
    input.edn === undefined
      ? undefined
      : await textTree(new SourceText("edn", "-e", input.edn), "edn", problems);
  const base = [file, object].filter((tree) => tree !== undefined);
  return { base, json: finish(json), edn: finish(edn), expanded };
}

async function textTree(
  source: SourceText,
  format: "edn" | "json",
  problems: ProblemList,
): Promise<MapNode | undefined> {
  if (Buffer.byteLength(source.text) > MAX_SOURCE_BYTES) {
    tooLarge(source, problems);
    return undefined;
  }
  // The EDN parser is loaded only when needed, to make other starts faster.
  if (format === "json") return asMap(readJson(source, problems), problems);
  const { readEdn } = await import("./source/edn.ts");
  return asMap(readEdn(source, problems), problems);
}

function asMap(node: ReturnType<typeof readJson>, problems: ProblemList): MapNode | undefined {
  if (node === undefined || node.type === "map") return node;
  const hint = 'Write {"cairn/http-server": {"port": 3000}}, or {} for the defaults.';
  problems.add(node.origin, [], `A configuration must be a map, not ${describeNode(node)}.`, hint);
  return undefined;
}

/** Returns the configuration file as it is written, or by its default name; undefined if there is none. */
export function fileOf({ file, object, cwd }: ConfigInput): string | undefined {
  if (file !== undefined || object !== undefined) return file;
  return DEFAULT_FILES.find((name) => existsSync(resolve(cwd, name)));
}

async function readFile(input: ConfigInput, problems: ProblemList): Promise<MapNode | undefined> {
  const label = fileOf(input);
  if (label === undefined) return undefined;
  const origin: Origin = { kind: "file", label };
  const extension = extname(label).toLowerCase();
  if (extension !== ".edn" && extension !== ".json") {
    const hint = /^\.ya?ml$/.test(extension)
      ? "Write the configuration in JSON, because Cairn reads no YAML. docs/configuration.md describes it."
      : "Rename the file: its extension determines its language.";
    problems.add(origin, [], "A configuration file's name must end in .edn or .json.", hint);
    return undefined;
  }
  const text = readText(resolve(input.cwd, label), origin, problems);
  return text === undefined
    ? undefined
    : await textTree(new SourceText("file", label, text), extension === ".edn" ? "edn" : "json", problems);
}

function tooLarge({ kind, label }: Pick<Origin, "kind" | "label">, problems: ProblemList): void {
  const message = `A configuration must not be larger than ${MAX_SOURCE_BYTES} bytes.`;
  problems.add({ kind, label }, [], message, "Check that this is the right file or text.");
}

/** Ends a hint: suggests a file with a similar name in the folder of `path`, or says what is wrong with the folder. */
function similarFile(path: string): string {
  const folder = dirname(path);
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return " Its folder does not exist or cannot be read.";
  }
  // A volume under a mistyped path leaves the folder empty that the image and the unit have.
  if (names.length === 0)
    return ` ${folder} is empty: put the file there, or mount there what contains it. A file with {} gives the built-in default.`;
  const configurations = names.filter((name) => [".edn", ".json"].includes(extname(name)));
  const near = nearestName(basename(path), configurations);
  return near === undefined ? "" : ` ${didYouMean(near)}`;
}

function readText(path: string, origin: Origin, problems: ProblemList): string | undefined {
  let bytes: Buffer;
  try {
    if (statSync(path).size > MAX_SOURCE_BYTES) {
      tooLarge(origin, problems);
      return undefined;
    }
    bytes = readFileSync(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === undefined) throw error;
    const missing = code === "ENOENT" || code === "ENOTDIR";
    const message = missing ? "The file does not exist." : `The file cannot be read: ${errorMessage(error)}.`;
    const hint = `Check the path: ${path}.${missing ? similarFile(path) : ""}`;
    problems.add(origin, [], message, hint, missing ? "CONFIG_NOT_FOUND" : "CONFIG_INVALID");
    return undefined;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const { what, hint = "Save the file as UTF-8." } = foreignText(bytes) ?? {};
    const message = `The file is not UTF-8 text${what === undefined ? "" : `: ${what}`}.`;
    problems.add(origin, [], message, hint, "CONFIG_SYNTAX");
    return undefined;
  }
}
