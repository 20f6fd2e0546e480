import { ONLY_CALL } from "../source/edn-form.ts";
import { describeNode } from "../source/config-tree.ts";
import type { ConfigNode, MapNode, Origin } from "../source/config-tree.ts";
import type { ProblemList } from "../source/problems.ts";
import type { JsonSchema } from "./json-schema.ts";
import type { ModuleKind, ModuleUse } from "./module-kinds.ts";
import type { SettingValue } from "./plain-value.ts";

/** A path in the configuration, from the top. */
export type ConfigPath = readonly string[];

/** A value that took effect: what `cairn config print` shows. */
export interface Setting {
  readonly path: ConfigPath;
  /** As JSON would hold it; already redacted where it is secret. */
  readonly value: SettingValue;
  readonly origin: Origin;
  /** The value is a place on this machine. */
  readonly isPath?: true;
}

/** What a parameter takes: how it is read, named in documents, and described to editors. */
export interface ValueType<T> {
  /** As docs/configuration.md names it. */
  readonly name: string;
  readonly jsonSchema: JsonSchema;
  /** The value is a place on this machine. */
  readonly isPath?: true;
  /** Of a map, its own parameters. */
  readonly parameters?: Parameters;
  /** The value, or undefined after it added what is wrong to the reading's problems. */
  read(node: ConfigNode, path: ConfigPath, reading: Reading): T | undefined;
  /** How `config print` shows a value; undefined when reading it recorded its own settings. */
  show(value: T): SettingValue | undefined;
}

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
}

/** The parameters of a map, by name. */
export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** What reading such parameters gives. */
export type ParameterValues<P extends Parameters> = {
  readonly [Name in keyof P]: P[Name] extends Parameter<infer T> ? T : never;
};

/** A built-in module, with all that documents, editors and the reader need to know of it. */
export interface ModuleDescriptor<K extends ModuleKind = ModuleKind> {
  readonly id: string;
  readonly kind: K;
  readonly doc: string;
  readonly parameters: Parameters;
  /** What parameters must be to each other, as far as editors can know it. */
  readonly constraint: JsonSchema;
  /** Reads the parameters; undefined after it added what is wrong to the problems. */
  use(map: MapNode, path: ConfigPath, reading: Reading): ModuleUse<K> | undefined;
}

/** One pass over a merged configuration: what it reads from, and what it gathers on its way. */
export interface Reading {
  readonly root: MapNode;
  /** What relative paths are relative to. */
  readonly cwd: string;
  /** `cairn/node`, which others take their defaults from. */
  readonly node: { readonly id: string; readonly dir: string };
  /** Every built-in module, by id. */
  readonly modules: ReadonlyMap<string, ModuleDescriptor>;
  /** Parameters that every module of a kind has, because the node itself reads them. */
  readonly commonParameters: Readonly<Record<ModuleKind, Parameters>>;
  readonly problems: ProblemList;
  readonly settings: Setting[];
  /** Sentences that a user should see once, in the order met. */
  readonly notices: Set<string>;
  /** Top-level keys that some value named: modules used in more than one place. */
  readonly shared: Map<
    string,
    { readonly kind: ModuleKind; readonly use: ModuleUse<ModuleKind> | undefined }
  >;
  /** Top-level keys that only a parameter named which is refused: what is wrong is told there. */
  readonly refused: Set<string>;
  /** Modules of older systems that were taken for ours. */
  readonly older: Set<string>;
  /** Top-level keys being read just now, so that a module which contains itself is told. */
  readonly open: Set<string>;
  /** What can only be checked by importing a user's module; run last. */
  readonly checks: (() => Promise<void>)[];
}

/** Adds the problem that a value is of another type than its parameter. */
export function expected(
  node: ConfigNode,
  path: ConfigPath,
  reading: Reading,
  what: string,
  hint?: string,
): undefined {
  const message = `Expected ${what}, found ${describeNode(node)}.`;
  const isCall = node.type === "call";
  const options = { hint: hint ?? (isCall ? ONLY_CALL : undefined), older: isCall };
  reading.problems.add(node.origin, path, message, options);
  return undefined;
}
