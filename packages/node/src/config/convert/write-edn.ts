import { placeOf } from "../source/config-tree.ts";
import { type Converted, type ConvertedEntry, type ConvertedMap, entriesOf } from "./converted-tree.ts";

const WIDTH = 100;

/** `notes` on the whole configuration come first; those on entries become comments above these entries. */
export function writeEdn(root: ConvertedMap, notes: readonly string[]): string {
  return [...notes.flatMap((note) => comment(note, "")), mapText(root, 0)].join("\n");
}

function textOf(value: Converted, indent: number): string {
  const line = lineOf(value);
  if (line !== undefined && (value.type !== "map" || indent + line.length <= WIDTH)) return line;
  if (value.type === "map") return mapText(value, indent);
  if (value.type !== "list") throw new Error("only maps and lists have more than one line");
  const inner = " ".repeat(indent + 1);
  return `[${value.items.map((item) => textOf(item, indent + 1)).join(`\n${inner}`)}]`;
}

/** Writes one entry per line, each below its notes. */
function mapText({ entries }: ConvertedMap, indent: number): string {
  const inner = " ".repeat(indent + 1);
  const lines = entries.flatMap((entry) => [
    ...noteLines(entry, inner),
    ...(entry.value === undefined ? [] : [inner + entryText(entry.name, entry.value, indent + 1)]),
  ]);
  const [first = inner, ...rest] = lines;
  const opened = first.trimStart().startsWith(";") ? `{\n${first}` : `{${first.slice(indent + 1)}`;
  // A comment at the end would include the bracket.
  const closing = lines.at(-1)?.trimStart().startsWith(";") === true ? `\n${inner}}` : "}";
  return [opened, ...rest].join("\n") + closing;
}

function entryText(name: string, value: Converted, indent: number): string {
  const key = keyText(name);
  const beside = indent + key.length + 1;
  const line = lineOf(value);
  if (line !== undefined && beside + line.length <= WIDTH) return `${key} ${line}`;
  return value.type === "map"
    ? `${key}\n${" ".repeat(indent)}${mapText(value, indent)}`
    : `${key} ${textOf(value, beside)}`;
}

/** Returns a value on one line; undefined if it contains notes. */
function lineOf(value: Converted): string | undefined {
  switch (value.type) {
    case "map": {
      if (value.entries.some(({ notes }) => notes.length > 0)) return undefined;
      const parts = entriesOf(value).map((entry) => {
        const line = lineOf(entry.value);
        return line === undefined ? undefined : `${keyText(entry.name)} ${line}`;
      });
      return parts.includes(undefined) ? undefined : `{${parts.join(" ")}}`;
    }
    case "list": {
      const items = value.items.map(lineOf);
      return items.includes(undefined) ? undefined : `[${items.join(" ")}]`;
    }
    case "string":
      return quoted(value.text);
    case "keyword":
      return `:${value.text}`;
    case "symbol":
      return value.text;
    case "scalar":
      return value.value === null ? "nil" : String(value.value);
  }
}

/** Writes a key. A name that is not a valid keyword is written as a string. */
function keyText(name: string): string {
  return /^[A-Za-z$_*!?.+<>=-][\w$*!?.+<>='/#-]*$/.test(name) && !/\/.*\/|\/$/.test(name)
    ? `:${name}`
    : quoted(name);
}

/** Returns an EDN string. EDN has fewer escapes than JSON, so all other characters are left unchanged. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t").replaceAll("\r", "\\r")}"`;
}

function noteLines({ notes, origin }: ConvertedEntry, inner: string): string[] {
  const [first, ...rest] = notes;
  if (first === undefined) return [];
  const place = origin.line === undefined ? "" : ` (${placeOf(origin)})`;
  return [...comment(`${first}${place}`, inner), ...rest.flatMap((note) => comment(note, inner))];
}

/** Returns a note as comment lines. A note that is itself an entry stays on one line, so that it can be uncommented. */
function comment(note: string, inner: string): string[] {
  if (note.startsWith(":")) return [`${inner};; ${note}`];
  const lines: string[] = [];
  let line = `${inner};;`;
  for (const word of note.split(/\s+/)) {
    if (line.length + 1 + word.length > WIDTH && line !== `${inner};;`) {
      lines.push(line);
      line = `${inner};;`;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
