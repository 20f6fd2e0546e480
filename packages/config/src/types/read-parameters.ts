import { isAbsolute } from "node:path";
import { DEFAULT_ORIGIN, emptyMap, findEntry } from "../source/config-tree.ts";
import type { ConfigEntry, MapNode } from "../source/config-tree.ts";
import { didYouMean, nearestName } from "@cairn/text";
import { camelCase } from "./parameter.ts";
import {
  addNames,
  type Parameter,
  type Parameters,
  type ParameterValues,
  SECRET,
  type Value,
  type ValueType,
} from "./reading.ts";

/** What is wrong with the values of a map together: a message, a hint, and the affected parameter. */
export interface Inconsistency {
  readonly message: string;
  readonly hint: string;
  readonly parameter?: string;
}

export interface MapDescription<P extends Parameters> {
  /** The map's name in messages, such as `cairn.leveldb/->kv-store` or `cairn/http-server`. */
  readonly what: string;
  /** Names of the older systems without a counterpart, with advice. */
  readonly hints?: ReadonlyMap<string, string>;
  readonly check?: ((values: ParameterValues<P>) => Inconsistency | undefined) | undefined;
}

/** Reads the parameters of a map. Returns undefined after adding problems. Unknown keys count as problems. */
export function readParameters<P extends Parameters>(
  parameters: P,
  map: Value<MapNode>,
  description: MapDescription<P>,
): ParameterValues<P> | undefined {
  const { problems } = map.reading.problems;
  const before = problems.length;
  for (const entry of map.node.entries) {
    if (!Object.hasOwn(parameters, entry.name) && entry.name !== "cairn/module")
      unknownKey(entry, map, description, Object.keys(parameters));
  }
  const read = Object.entries(parameters)
    .map(([name, parameter]) => [camelCase(name), readParameter(parameter, name, map, description.what)])
    .filter(([, value]) => value !== undefined);
  if (problems.length > before) return undefined;
  // Every parameter was read by its own type.
  const values = Object.fromEntries(read) as ParameterValues<P>;
  const fault = description.check?.(values);
  if (fault === undefined) return values;
  const { message, hint, parameter = "" } = fault;
  const node = findEntry(map.node, parameter)?.value ?? map.node;
  return (parameter === "" ? map : map.at(parameter, node)).refuse(message, hint);
}

function readParameter(
  parameter: Parameter<unknown>,
  name: string,
  map: Value<MapNode>,
  what: string,
): unknown {
  const { type, fallback } = parameter;
  const node = findEntry(map.node, name)?.value;
  // A null removes the value of a weaker source, so the default applies.
  if (node === undefined || node.type === "null") {
    const article = /^[aeiou]/.test(type.name) ? "an" : "a";
    if (parameter.required)
      return map
        .at(name, node ?? map.node)
        .refuse(`${what} requires the parameter ${name} (${article} ${type.name}).`, parameter.doc);
    const absent = map.at(name, emptyMap(DEFAULT_ORIGIN));
    return recorded(type, absent, typeof fallback === "function" ? fallback(absent) : fallback);
  }
  const value = map.at(name, node);
  return recorded(type, value, type.read(value));
}

/** Records and returns what takes effect. */
export function recorded<T>(
  type: ValueType<T>,
  { path, node, reading }: Value,
  value: T | undefined,
): T | undefined {
  if (value === undefined) return undefined;
  const shown = type.isSecret === true ? SECRET : type.show?.(value);
  const isRelative = node.type === "string" && !isAbsolute(node.text) && !node.text.startsWith("file:");
  const marks = type.isPath && { isPath: type.isPath, isRelative };
  if (shown !== undefined) reading.settings.push({ path, value: shown, origin: node.origin, ...marks });
  return value;
}

function unknownKey(
  { name, nameOrigin, value }: ConfigEntry,
  { node, path, reading }: Value<MapNode>,
  { what, hints }: Omit<MapDescription<Parameters>, "check">,
  known: readonly string[],
): void {
  const module = findEntry(node, "cairn/module");
  // A stronger source chose another module, so the weaker source's parameters, meant for its own, are discarded.
  if (module?.replaced !== undefined && module.replaced.origin.label === value.origin.label) {
    addNames(value, reading.replaced, reading.root);
    // No notice is necessary for overridden defaults.
    if (value.origin.kind === "default") return;
    reading.notices.add(
      `${name} (${value.origin.label}) has no effect: ${module.value.origin.label} selects ${what}, which has no such parameter.`,
    );
    return;
  }
  addNames(value, reading.refused, reading.root);
  const near = nearestName(name, known);
  const hint =
    hints?.get(name) ?? (near === undefined ? `Known: ${known.toSorted().join(", ")}.` : didYouMean(near));
  reading.problems.add(nameOrigin, [...path, name], `${what} has no parameter ${name}.`, hint);
}
