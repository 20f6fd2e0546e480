import { DEFAULT_ORIGIN, findEntry, normalizeName } from "../source/config-tree.ts";
import type { ConfigEntry, MapNode, Origin } from "../source/config-tree.ts";
import { omitUndefined } from "../source/omit-undefined.ts";
import { didYouMean, nearestName } from "../../text/nearest-name.ts";
import type { ConfigPath, Parameter, Parameters, ParameterValues, Reading } from "./reading.ts";

export interface MapDescription {
  /** The map's name in messages, such as `cairn.leveldb/->kv-store` or `cairn/http-server`. */
  readonly what: string;
  /** Keys that are read elsewhere. */
  readonly ignore?: readonly string[];
  /** Names of the older systems without a counterpart, with advice. */
  readonly hints?: ReadonlyMap<string, string>;
}

/** Reads the parameters of a map. Returns undefined after adding problems. Unknown keys count as problems. */
export function readParameters<P extends Parameters>(
  parameters: P,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
  description: MapDescription,
): ParameterValues<P> | undefined {
  const before = reading.problems.problems.length;
  for (const entry of map.entries) {
    if (!Object.hasOwn(parameters, entry.name) && description.ignore?.includes(entry.name) !== true) {
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
  // A null removes the value of a weaker source, so the default applies.
  if (entry === undefined || entry.value.type === "null") {
    if (parameter.required) {
      const origin = entry?.value.origin ?? map.origin;
      reading.problems.add(
        origin,
        at,
        `${description.what} requires the parameter ${name} (${article(parameter.type.name)}).`,
        { hint: parameter.doc },
      );
      return undefined;
    }
    const fallback =
      typeof parameter.fallback === "function" ? parameter.fallback(reading, at) : parameter.fallback;
    if (fallback !== undefined) record(parameter, at, fallback, DEFAULT_ORIGIN, reading);
    return fallback;
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
  if (shown === undefined) return;
  const { isPath } = parameter.type;
  reading.settings.push({ path, value: shown, origin, ...omitUndefined({ isPath }) });
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
  // A stronger source has chosen another module, so the parameters that the weaker source gave for its own module are
  // discarded. Otherwise it would not be possible to override the module of a file.
  if (module?.replaced !== undefined && module.replaced.origin.label === entry.value.origin.label) {
    // No notice is necessary for overridden defaults.
    if (entry.value.origin.kind === "default") return;
    reading.notices.add(
      `${entry.name} (${entry.value.origin.label}) has no effect: ${module.value.origin.label} selects ${description.what}, which has no such parameter.`,
    );
    return;
  }
  const { value } = entry;
  if (value.type === "keyword" || value.type === "string" || value.type === "symbol") {
    reading.refused.add(normalizeName(value.text));
  }
  const near = nearestName(entry.name, known);
  const hint =
    description.hints?.get(entry.name) ??
    (near === undefined ? `Known: ${known.toSorted().join(", ")}.` : didYouMean(near));
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
