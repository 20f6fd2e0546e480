import { CairnError, isCairnError } from "@cairn/kv";
import { findEntry } from "../source/config-tree.ts";
import type { ConfigNode, MapNode, Origin } from "../source/config-tree.ts";
import { moduleUse } from "./module-descriptor.ts";
import { KIND_NAMES } from "../types/module-kinds.ts";
import type {
  CommonValues,
  ModuleContext,
  ModuleKind,
  ModuleParts,
  ModuleUse,
} from "../types/module-kinds.ts";
import { readParameters } from "../types/read-parameters.ts";
import { asPart, isShaped, missingMembers } from "./part-shape.ts";
import { plainValue, printableValue } from "../types/plain-value.ts";
import type { ConfigPath, Reading } from "../types/reading.ts";
import { answered, loadUserModule, lookupFolder, moduleError } from "./user-module.ts";
import type { UserModule } from "./user-module.ts";

/** A function that calls a user's module, or returns the given object. */
type Produce = (context: ModuleContext & { readonly signal?: AbortSignal }) => Promise<unknown>;

const PARTS: {
  readonly [K in ModuleKind]: (
    produce: Produce,
    context: ModuleContext,
    id: string,
  ) => Promise<ModuleParts[K]>;
} = {
  "tx-log": async (produce, context, id) => async (opening) =>
    asPart("tx-log", await produce({ ...context, ...opening }), id),
  "kv-store": async (produce, context, id) => asPart("kv-store", await produce(context), id),
  "checkpoint-store": async (produce, context, id) => asPart("checkpoint-store", await produce(context), id),
  checkpointer: (_produce, _context, id) => Promise.reject(notPluggable(id)),
};

/** The import itself is checked last, because a module runs when it is imported. */
export function importedUse<K extends ModuleKind>(
  kind: K,
  specifier: string,
  origin: Origin,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
): ModuleUse<K> | undefined {
  const folder = lookupFolder(origin, reading.cwd);
  const at = findEntry(map, "cairn/module") === undefined ? path : [...path, "cairn/module"];
  let loading: Promise<UserModule> | undefined;
  // The module is loaded only once for the check and for all parts, because two instances would not share state.
  const load = (): Promise<UserModule> => (loading ??= loadUserModule(specifier, folder));
  reading.checks.push(async () => {
    try {
      await load();
    } catch (error) {
      if (!isCairnError(error, "CONFIG_MODULE")) throw error;
      reading.problems.add(origin, at, error.message, { code: "CONFIG_MODULE", hint: error.hint });
    }
  });
  return ownUse(kind, specifier, map, path, reading, async (options, context) => {
    const create = await load();
    try {
      return await answered(specifier, create(options, context));
    } catch (error) {
      throw moduleError(`${specifier} failed`, error);
    }
  });
}

/** Reads a function, or an object that is a part. Only a program can supply either. */
export function instanceUse<K extends ModuleKind>(
  kind: K,
  node: Extract<ConfigNode, { type: "instance" }>,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
): ModuleUse<K> | undefined {
  const { value, origin } = node;
  if (typeof value === "function") {
    return ownUse(
      kind,
      value.name === "" ? "a function" : value.name,
      map,
      path,
      reading,
      async (options, context) => {
        const made: unknown = await Reflect.apply(value, undefined, [options, context]);
        return made;
      },
    );
  }
  const missing = isShaped(kind) ? missingMembers(kind, value) : [];
  if (missing.length > 0) {
    reading.problems.add(
      origin,
      path,
      `This object is not ${KIND_NAMES[kind]}: it lacks ${missing.join(", ")}.`,
      {
        code: "CONFIG_MODULE",
      },
    );
    return undefined;
  }
  return ownUse(kind, "an object", map, path, reading, () => Promise.resolve(value));
}

function ownUse<K extends ModuleKind>(
  kind: K,
  id: string,
  map: MapNode,
  path: ConfigPath,
  reading: Reading,
  make: (options: Readonly<Record<string, unknown>>, context: object) => Promise<unknown>,
): ModuleUse<K> | undefined {
  if (!isShaped(kind)) {
    const { message, hint } = notPluggable(id);
    reading.problems.add(map.origin, path, message, { code: "CONFIG_MODULE", hint });
    return undefined;
  }
  const parameters = reading.commonParameters[kind];
  const isCommon = (name: string): boolean => Object.hasOwn(parameters, name);
  const own = map.entries.filter((entry) => !isCommon(entry.name) && entry.name !== "cairn/module");
  const entries = map.entries.filter((entry) => isCommon(entry.name));
  const common = readParameters(parameters, { ...map, entries }, path, reading, { what: id });
  if (common === undefined) return undefined;
  const options = Object.fromEntries(own.map((entry) => [entry.name, plainValue(entry.value)]));
  for (const entry of own) {
    const value = printableValue(entry.name, options[entry.name]);
    reading.settings.push({ path: [...path, entry.name], value, origin: entry.value.origin });
  }
  const produce: Produce = (context) => make(options, context);
  // The entry of a kind in commonParameters produces the values of that kind's entry in CommonValues.
  return moduleUse(kind, id, common as CommonValues[K], (context) => PARTS[kind](produce, context, id));
}

function notPluggable(id: string): CairnError {
  return new CairnError("CONFIG_MODULE", `A checkpointer cannot be a module of your own: ${id}.`, {
    hint: "Use cairn.checkpoint/->checkpointer; only stores, logs and key-value stores can be modules of your own.",
  });
}
