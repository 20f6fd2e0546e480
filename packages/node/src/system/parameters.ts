import { emptyMap, findEntry } from "./config-tree.ts";
import type { ConfigEntry, MapNode, Origin } from "./config-tree.ts";
import { nearestName } from "./nearest-name.ts";
import { expected } from "./reading.ts";
import type { ConfigPath, Reading } from "./reading.ts";
import type { JsonSchema, ValueType } from "./value-types.ts";

const DEFAULT_ORIGIN: Origin = { kind: "default", label: "default" };

/** A parameter: what it takes, whether it must be there, and what docs/configuration.md says of it. */
export interface Parameter<T> {
  readonly type: ValueType<unknown>;
  readonly doc: string;
  readonly required: boolean;
  /** The default as documents write it, where it is one. */
  readonly defaultText: string | undefined;
  /** The value when nothing was given. */
  readonly fallback: T | ((reading: Reading, path: ConfigPath) => T) | undefined;
  /** Never printed. */
  readonly secret: boolean;
  /** Known, but not in this version: giving it is an error that says so. */
  readonly unbuilt: boolean;
}

/** The parameters of a map, by name. */
export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** What reading such parameters gives. */
export type ParameterValues<P extends Parameters> = {
  readonly [Name in keyof P]: P[Name] extends Parameter<infer T> ? T : never;
};

/** A parameter that must be given. */
export function required<T>(type: ValueType<T>, doc: string): Parameter<T> {
  return {
    type,
    doc,
    required: true,
    defaultText: undefined,
    fallback: undefined,
    secret: false,
    unbuilt: false,
  };
}

/** A parameter that may be left out; `defaultText` says what happens then. */
export function optional<T>(type: ValueType<T>, doc: string, defaultText?: string): Parameter<T | undefined> {
  return { type, doc, required: false, defaultText, fallback: undefined, secret: false, unbuilt: false };
}

/** A parameter with a default value. */
export function withDefault<T>(type: ValueType<T>, fallback: T, doc: string): Parameter<T> {
  const shown = type.show(fallback);
  const defaultText = shown === undefined ? undefined : JSON.stringify(shown);
  return { type, doc, required: false, defaultText, fallback, secret: false, unbuilt: false };
}

/** A parameter whose default depends on the node; `defaultText` says how. */
export function derived<T>(
  type: ValueType<T>,
  fallback: (reading: Reading) => T,
  doc: string,
  defaultText: string,
): Parameter<T> {
  return { type, doc, required: false, defaultText, fallback, secret: false, unbuilt: false };
}

/** A map of which every parameter has a default: leaving it out means an empty one. */
export function withDefaults<T>(type: ValueType<T>, doc: string): Parameter<T> {
  const empty = emptyMap(DEFAULT_ORIGIN);
  const fallback = (reading: Reading, path: ConfigPath): T => {
    const value = type.read(empty, path, reading);
    if (value === undefined) throw new Error(`${type.name} has a parameter without a default.`);
    return value;
  };
  return { type, doc, required: false, defaultText: undefined, fallback, secret: false, unbuilt: false };
}

/** The same parameter, its value never printed. */
export function secret<T>(parameter: Parameter<T>): Parameter<T> {
  return { ...parameter, secret: true };
}

/** A parameter of the contract that this version does not have yet. */
export function unbuilt(type: ValueType<unknown>, doc: string): Parameter<undefined> {
  return {
    type,
    doc,
    required: false,
    defaultText: undefined,
    fallback: undefined,
    secret: false,
    unbuilt: true,
  };
}

/** What a map is read as. */
export interface MapDescription {
  /** As messages name it: `cairn.leveldb/->kv-store`, `cairn/http-server`. */
  readonly what: string;
  /** Keys that others read. */
  readonly ignore?: readonly string[];
  /** Names of the older systems that have no counterpart, with what to do instead. */
  readonly hints?: Readonly<Record<string, string>>;
}

/** Reads a map's parameters; undefined after it added what is wrong to the problems. Every key that no parameter has is wrong. */
export function readParameters<P extends Parameters>(
  parameters: P,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
  description: MapDescription,
): ParameterValues<P> | undefined {
  const before = reading.problems.problems.length;
  for (const entry of map.entries) {
    if (parameters[entry.name] === undefined && description.ignore?.includes(entry.name) !== true) {
      unknownKey(entry, map, path, reading, description, Object.keys(parameters));
    }
  }
  const values: Record<string, unknown> = {};
  for (const [name, parameter] of Object.entries(parameters)) {
    values[name] = readParameter(parameter, name, map, path, reading, description);
  }
  return reading.problems.problems.length === before ? (values as ParameterValues<P>) : undefined;
}

function readParameter(
  parameter: Parameter<unknown>,
  name: string,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
  description: MapDescription,
): unknown {
  const entry = findEntry(map, name);
  const at = [...path, name];
  if (entry === undefined || entry.value.type === "null") {
    if (parameter.required) {
      const origin = entry?.value.origin ?? map.origin;
      reading.problems.add(
        origin,
        at,
        `${description.what} needs ${name}, ${article(parameter.type.name)}.`,
        { hint: parameter.doc },
      );
      return undefined;
    }
    const fallback =
      typeof parameter.fallback === "function" ? parameter.fallback(reading, at) : parameter.fallback;
    if (fallback !== undefined) record(parameter, at, fallback, DEFAULT_ORIGIN, reading);
    return fallback;
  }
  if (parameter.unbuilt) {
    reading.problems.add(entry.nameOrigin, at, `${name} is not in this version of Cairn.`, {
      hint: "Leave it out.",
    });
    return undefined;
  }
  const value = parameter.type.read(entry.value, at, reading);
  if (value !== undefined) record(parameter, at, value, entry.value.origin, reading);
  return value;
}

function record(
  parameter: Parameter<unknown>,
  path: ConfigPath,
  value: unknown,
  origin: Origin,
  reading: Reading,
): void {
  const shown = parameter.secret ? "(secret)" : parameter.type.show(value);
  if (shown !== undefined) reading.settings.push({ path, value: shown, origin });
}

function unknownKey(
  entry: ConfigEntry,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
  description: MapDescription,
  known: readonly string[],
): void {
  const module = findEntry(map, "cairn/module");
  // A stronger source chose another module: what belonged to the one before goes with it, or no file could be overridden.
  if (module?.replaced !== undefined && module.replaced.origin.label === entry.value.origin.label) {
    reading.notices.add(
      `${entry.name} (${entry.value.origin.label}) has no effect: ${description.what} has no such parameter, and ${module.value.origin.label} chose it instead.`,
    );
    return;
  }
  const near = nearestName(entry.name, known);
  const hint =
    description.hints?.[entry.name] ??
    (near === undefined ? `Known are ${known.toSorted().join(", ")}.` : `Did you mean ${near}?`);
  reading.problems.add(
    entry.nameOrigin,
    [...path, entry.name],
    `${description.what} has no parameter ${entry.name}.`,
    { hint },
  );
}

function article(name: string): string {
  return `${/^[aeiou]/.test(name) ? "an" : "a"} ${name}`;
}

/** A map with parameters of its own, in the place of a value: `retention-policy`. */
export function mapOf<P extends Parameters, T>(
  what: string,
  parameters: P,
  finish: (values: ParameterValues<P>, fail: (message: string, hint: string) => undefined) => T | undefined,
): ValueType<T> & { readonly parameters: P } {
  return {
    name: `map (${Object.keys(parameters)
      .map((name) => `\`${name}\``)
      .join(", ")})`,
    parameters,
    jsonSchema: schemaOfParameters(parameters),
    read(node, path, reading) {
      if (node.type !== "map")
        return expected(node, path, reading, `a map with ${Object.keys(parameters).join(", ")}`);
      const values = readParameters(parameters, node, path, reading, { what });
      if (values === undefined) return undefined;
      return finish(
        values,
        (message, hint) => void reading.problems.add(node.origin, path, message, { hint }),
      );
    },
    show: () => undefined,
  };
}

/** The JSON Schema of a map with these parameters. */
export function schemaOfParameters(parameters: Parameters): MapSchema {
  const built = Object.entries(parameters).filter(([, parameter]) => !parameter.unbuilt);
  const needed = built.filter(([, parameter]) => parameter.required).map(([name]) => name);
  const properties = Object.fromEntries(
    built.map(([name, { type, doc }]) => [name, { ...type.jsonSchema, description: doc }]),
  );
  const schema = { type: "object", properties, additionalProperties: false } as const;
  return needed.length === 0 ? schema : { ...schema, required: needed };
}

/** The JSON Schema of a map. */
export type MapSchema = JsonSchema & { readonly properties: JsonSchema };
