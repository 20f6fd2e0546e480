import type { CheckpointStore } from "@cairn/checkpoint";
import { CairnError, isCairnError, type KvProvider } from "@cairn/kv";
import type { OwnIndexOptions, TxLog } from "@cairn/engine";
import { type ConfigNode, type MapNode, placeOf } from "../source/config-tree.ts";
import { whereOf } from "../source/problems.ts";
import { KV_PROVIDER } from "../boundary/checked-kv.ts";
import { TX_LOG } from "../boundary/checked-log.ts";
import { checkedPart, type Contract, missingMembers } from "../boundary/checked-part.ts";
import { CHECKPOINT_STORE } from "../boundary/checked-store.ts";
import { moduleUse } from "./module-descriptor.ts";
import {
  KIND_NAMES,
  type CommonValues,
  type ModuleContext,
  type ModuleKind,
  type ModuleParts,
  type ModuleUse,
} from "../types/module-kinds.ts";
import { readParameters } from "../types/read-parameters.ts";
import { plainValue, printableValue, refuseCode } from "../types/plain-value.ts";
import type { Value } from "../types/reading.ts";
import { answered, type LoadedModule, loadUserModule, lookupFolder, moduleError } from "./user-module.ts";

/** A user's module, or an object or function in its place. */
interface OwnModule {
  readonly id: string;
  /** Calls the module, or returns the object. */
  readonly make: (options: Options, context: object) => Promise<unknown>;
  /** Returns where a thread finds the module. Only a module in a file has such a place. */
  readonly locate?: () => Promise<OwnIndexOptions["module"]>;
}

/** `where` is the place in the configuration, which errors name that occur after it was read. */
type PlacedModule = OwnModule & { readonly where: string };
type Options = Readonly<Record<string, unknown>>;

const PARTS: {
  readonly [K in ModuleKind]: (
    own: PlacedModule,
    options: Options,
    context: ModuleContext,
  ) => Promise<ModuleParts[K]>;
} = {
  "tx-log": async (own, options, context) => async (opening) =>
    await madePart("tx-log", own, options, { ...context, ...opening }),
  "kv-store": async (own, options, context) => await madePart("kv-store", own, options, context),
  "checkpoint-store": async (own, options, context) =>
    await madePart("checkpoint-store", own, options, context),
  checkpointer: ({ id }) => Promise.reject(notPluggable(id)),
  index: async ({ id, locate }, options) => {
    if (locate === undefined) throw notInFile(id);
    return { module: await locate(), options };
  },
};

/** `name` is where the module is named. The import itself is checked last, because a module runs when it is imported. */
export function importedUse<K extends ModuleKind>(
  kind: K,
  specifier: string,
  name: Value,
  map: Value<MapNode>,
): ModuleUse<K> | undefined {
  const folder = lookupFolder(name.node.origin, name.reading.cwd);
  let loading: Promise<LoadedModule> | undefined;
  // The module is loaded only once for the check and for all parts, because two instances would not share state.
  const load = (): Promise<LoadedModule> => (loading ??= loadUserModule(specifier, folder));
  const locate = async (): Promise<OwnIndexOptions["module"]> => locationOf(specifier, await load());
  name.reading.checks.push(async () => {
    try {
      await (kind === "index" ? locate() : load());
    } catch (error) {
      if (!isCairnError(error, "CONFIG_MODULE")) throw error;
      name.refuse(error.message, error.hint, "CONFIG_MODULE");
    }
  });
  const make: OwnModule["make"] = async (options, context) => {
    const { create } = await load();
    return await answered(specifier, create(options, context));
  };
  return ownUse(kind, { id: specifier, make, locate }, map);
}

function locationOf(specifier: string, { url, export: name }: LoadedModule): OwnIndexOptions["module"] {
  if (url !== undefined) return { url, export: name };
  throw new CairnError(
    "CONFIG_MODULE",
    `${specifier} has only exports with the condition import, so it has no path that a thread could import.`,
    `Name its file, such as ./node_modules/PACKAGE/index.js#${name}, or add the condition default to its exports.`,
  );
}

/** Reads a function, or an object that is a part. Only a program can supply either. */
export function instanceUse<K extends ModuleKind>(
  kind: K,
  instance: Value<Extract<ConfigNode, { type: "instance" }>>,
  map: Value<MapNode>,
): ModuleUse<K> | undefined {
  const { value } = instance.node;
  if (typeof value === "function") {
    const id = value.name === "" ? "a function" : value.name;
    const make: OwnModule["make"] = async (options, context) => {
      const made: unknown = await Reflect.apply(value, undefined, [options, context]);
      return made;
    };
    return ownUse(kind, { id, make }, map);
  }
  const missing = isShaped(kind) ? missingMembers<unknown>(value, CONTRACTS[kind]) : [];
  if (missing.length > 0) {
    const message = `This object is not ${KIND_NAMES[kind]}: it lacks ${missing.join(", ")}.`;
    return instance.refuse(message, undefined, "CONFIG_MODULE");
  }
  return ownUse(kind, { id: "an object", make: () => Promise.resolve(value) }, map);
}

function ownUse<K extends ModuleKind>(
  kind: K,
  module: OwnModule,
  map: Value<MapNode>,
): ModuleUse<K> | undefined {
  const { id } = module;
  if (kind === "checkpointer" || (kind === "index" && module.locate === undefined)) {
    const { message, hint } = kind === "index" ? notInFile(id) : notPluggable(id);
    return map.refuse(message, hint, "CONFIG_MODULE");
  }
  const parameters = map.reading.commonParameters[kind];
  const isCommon = (name: string): boolean => Object.hasOwn(parameters, name);
  const own = map.node.entries.filter(({ name }) => !isCommon(name) && name !== "cairn/module");
  const entries = map.node.entries.filter(({ name }) => isCommon(name));
  const common = readParameters(parameters, map.as({ ...map.node, entries }), { what: id });
  if (common === undefined) return undefined;
  for (const { name, value } of own) refuseCode(map.at(name, value), { isSent: kind === "index" });
  const options = Object.fromEntries(own.map(({ name, value }) => [name, plainValue(value)]));
  for (const { name, value } of own) map.at(name, value).record(printableValue(name, options[name]));
  const placed = { ...module, where: whereOf(placeOf(map.node.origin), map.path) };
  // The entry of a kind in commonParameters produces the values of that kind's entry in CommonValues.
  return moduleUse(kind, id, common as CommonValues[K], (context) => PARTS[kind](placed, options, context));
}

function notPluggable(id: string): CairnError {
  return new CairnError(
    "CONFIG_MODULE",
    `A checkpointer cannot be a module of your own: ${id}.`,
    "Use cairn.checkpoint/->checkpointer; only stores, logs, key-value stores and indexes can be modules of your own.",
  );
}

function notInFile(id: string): CairnError {
  return new CairnError(
    "CONFIG_MODULE",
    `An index runs in a thread and in processes of its own, so it cannot be an object or a function of a program: ${id}.`,
    'Export the function from a file, and name that: "cairn/module": "./near.js#create".',
  );
}

/** The pluggable kinds, with their interfaces. */
interface Shaped {
  readonly "tx-log": TxLog;
  readonly "kv-store": KvProvider;
  readonly "checkpoint-store": CheckpointStore;
}

const CONTRACTS: { readonly [K in keyof Shaped]: Contract<Shaped[K]> } = {
  "tx-log": TX_LOG,
  "kv-store": KV_PROVIDER,
  "checkpoint-store": CHECKPOINT_STORE,
};

function isShaped(kind: string): kind is keyof Shaped {
  return kind in CONTRACTS;
}

async function madePart<K extends keyof Shaped>(
  kind: K,
  { id, where, make }: PlacedModule,
  options: Options,
  context: object,
): Promise<Shaped[K]> {
  let made: unknown;
  try {
    made = await make(options, context);
  } catch (error) {
    throw moduleError(`${where}: ${id} failed`, error);
  }
  const contract: Contract<Shaped[K]> = CONTRACTS[kind];
  const missing = missingMembers(made, contract);
  if (missing.length === 0) return checkedPart(made as Shaped[K], contract, id);
  throw new CairnError(
    "CONFIG_MODULE",
    `${where}: ${id} did not return ${KIND_NAMES[kind]}: it lacks ${missing.join(", ")}.`,
    "Return a complete part, as docs/configuration.md describes for modules of your own.",
  );
}
