import { Duration } from "luxon";
import { OLDER_PARAMETERS, olderModule, replacementOf, TOP_LEVEL_ALIASES } from "../modules/aliases.ts";
import { MODULES } from "../modules/modules.ts";
import { findEntry } from "../source/config-tree.ts";
import type { CallNode, ConfigEntry, ConfigNode, MapNode } from "../source/config-tree.ts";
import { DURATION_CALLS } from "../../text/duration.ts";
import type { Converted, ConvertedEntry, ConvertedMap } from "./converted-tree.ts";

/**
 * Translates the names in a configuration of an older system. Modules without a direct counterpart are replaced if
 * possible, with a note. Code that stands for a plain value becomes that value; other code is removed.
 */
export function translateNames(root: MapNode): ConvertedMap {
  const names = new Set(root.entries.map(({ name }) => name));
  const entries = root.entries.map((entry) => {
    const name = TOP_LEVEL_ALIASES.get(entry.name);
    return translateEntry(name === undefined || names.has(name) ? entry : { ...entry, name });
  });
  return { type: "map", entries };
}

function translateEntry({ name, nameOrigin: origin, value }: ConfigEntry): ConvertedEntry {
  const notes: string[] = [];
  const translated = translate(value, notes);
  if (translated === undefined) notes.unshift(removalNote(name, "", OLDER_PARAMETERS.get(name) ?? ""));
  return { name, origin, value: translated, notes };
}

/** Returns a note on a removed value, built from the checker's message and hint. */
export function removalNote(name: string, message: string, hint: string): string {
  const what = message.replace(/^.* has no counterpart: /, "").replace(/^.* has no parameter .*$/, "");
  const reason = hint.replace(/^Remove it(?:[.:;,] ?| )(?:and )?/, "");
  const instead = reason.charAt(0).toUpperCase() + reason.slice(1);
  return [`${name.replace(/^cairn\//, "")} was removed.`, what, instead]
    .filter((part) => part !== "")
    .join(" ");
}

/** Translates a value. Returns undefined, after adding a note, for code that does not stand for a plain value. */
function translate(node: ConfigNode, notes: string[]): Converted | undefined {
  switch (node.type) {
    case "map":
      return translateMap(node, notes);
    case "list": {
      const items = node.items.map((item) => translate(item, notes)).filter((item) => item !== undefined);
      return { type: "list", items };
    }
    case "string":
    case "symbol":
      return translateModule(node.text, notes) ?? { type: node.type, text: node.text };
    case "keyword":
      return { type: "keyword", text: node.text };
    case "number":
    case "boolean":
      return { type: "scalar", value: node.value };
    case "null":
      return { type: "scalar", value: null };
    case "call":
      return translateCall(node, notes);
    case "instance":
      throw new Error("a file cannot contain instances");
  }
}

/** A module without a counterpart is replaced, and the parameters that its replacement also has are kept. */
function translateMap(map: MapNode, notes: string[]): ConvertedMap {
  const module = findEntry(map, "cairn/module")?.value;
  const name = module?.type === "string" || module?.type === "symbol" ? module.text : "";
  const entries = map.entries.map(translateEntry);
  const other = translateModule(name, notes);
  if (other?.type !== "map") return { type: "map", entries };
  const [named] = other.entries;
  const id = named?.value?.type === "symbol" ? named.value.text : "";
  const known = MODULES.find((one) => one.id === id)?.parameters ?? {};
  const given = new Set(other.entries.map((entry) => entry.name));
  const kept = entries.filter((entry) => !given.has(entry.name) && Object.hasOwn(known, entry.name));
  const gone = entries.filter((entry) => !given.has(entry.name) && !kept.includes(entry));
  if (gone.length > 0) notes.push(`Removed with it: ${gone.map((entry) => entry.name).join(", ")}.`);
  return { type: "map", entries: [...other.entries, ...kept] };
}

/**
 * Translates a module's name to another name, or to a map if the module is replaced. Returns undefined if the name is
 * not an older one or the module has no replacement.
 */
function translateModule(name: string, notes: string[]): Converted | undefined {
  const older = olderModule(name);
  if (older === undefined) return undefined;
  if ("id" in older) return { type: "symbol", text: older.id };
  const other = replacementOf(name);
  if (other === undefined) return undefined;
  const origin = { kind: "default" as const, label: name };
  notes.push(`${older.message} ${older.hint}`, other.note);
  const parameters = Object.entries(other.parameters).map(([parameter, text]): ConvertedEntry => ({
    name: parameter,
    origin,
    value: { type: "string", text },
    notes: [],
  }));
  const module: ConvertedEntry = {
    name: "cairn/module",
    origin,
    value: { type: "symbol", text: other.id },
    notes: [],
  };
  return { type: "map", entries: [module, ...parameters] };
}

const FILES = new Set(["io/file", "clojure.java.io/file", "File.", "java.io.File."]);

function translateCall(call: CallNode, notes: string[]): Converted | undefined {
  const name = call.name.replace(/^java\.time\./, "");
  const texts = call.arguments.map((argument) => (argument.type === "string" ? argument.text : undefined));
  const [first, ...others] = texts;
  if (
    first !== undefined &&
    FILES.has(name) &&
    others.every((part) => part !== undefined && part[0] !== "/")
  ) {
    return { type: "string", text: [first.replace(/(?<=.)\/+$/, ""), ...others].join("/") };
  }
  if (first !== undefined && name === "Duration/parse" && others.length === 0)
    return { type: "string", text: first };
  const only = call.arguments.length === 1 ? call.arguments[0] : undefined;
  const unit = DURATION_CALLS.get(name);
  if (unit !== undefined && only?.type === "number") {
    const iso = Duration.fromMillis(only.value * unit)
      .rescale()
      .toISO();
    if (iso !== null) return { type: "string", text: iso };
  }
  notes.push(
    `(${call.name} …) is code, which Cairn does not run: write its result as plain values (docs/configuration.md lists the parameters).`,
  );
  return undefined;
}
