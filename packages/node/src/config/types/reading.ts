import { ONLY_CALL } from "../source/edn-form.ts";
import { describeNode } from "../source/config-tree.ts";
import type { ConfigNode, MapNode, Origin } from "../source/config-tree.ts";
import type { Environment } from "../source/interpolate.ts";
import type { ProblemList } from "../source/problems.ts";
import type { JsonSchema } from "./json-schema.ts";
import type { ModuleKind, ModuleUse } from "./module-kinds.ts";
import type { SettingValue } from "./plain-value.ts";

/** A path in the configuration, from the top. */
export type ConfigPath = readonly string[];

export interface Setting {
  readonly path: ConfigPath;
  /** The value in the form of JSON. It is redacted if it is secret. */
  readonly value: SettingValue;
  readonly origin: Origin;
  /** True if the value is a path on this machine. */
  readonly isPath?: true;
}

/** The type of a parameter: how its values are read, its name in the documentation, and its description for editors. */
export interface ValueType<T> {
  /** The type's name in docs/configuration.md. */
  readonly name: string;
  readonly jsonSchema: JsonSchema;
  /** True if the value is a path on this machine. */
  readonly isPath?: true;
  readonly parameters?: Parameters;
  /** Returns the value, or undefined after adding a problem. */
  read(node: ConfigNode, path: ConfigPath, reading: Reading): T | undefined;
  /**
   * Returns the value in the form of `config print`; undefined if separate settings were recorded when the value was
   * read.
   */
  show(value: T): SettingValue | undefined;
}

/** A parameter: its type, whether it is required, and its description in docs/configuration.md. */
export interface Parameter<T> {
  readonly type: ValueType<unknown>;
  readonly doc: string;
  readonly required: boolean;
  /** The default as described in the documentation. */
  readonly defaultText: string | undefined;
  readonly fallback: T | ((reading: Reading, path: ConfigPath) => T) | undefined;
  /** True if the value is never printed. */
  readonly secret: boolean;
}

export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

export type ParameterValues<P extends Parameters> = {
  readonly [Name in keyof P]: P[Name] extends Parameter<infer T> ? T : never;
};

/** A built-in module, for the reader, the documentation and editors. */
export interface ModuleDescriptor<K extends ModuleKind = ModuleKind> {
  readonly id: string;
  readonly kind: K;
  readonly doc: string;
  readonly parameters: Parameters;
  /** Constraints between parameters, in a form that editors can check. */
  readonly constraint: JsonSchema;
  /** Reads the parameters. Returns undefined after adding problems. */
  use(map: MapNode, path: ConfigPath, reading: Reading): ModuleUse<K> | undefined;
}

/** One pass over a merged configuration: its input and its collected results. */
export interface Reading {
  readonly root: MapNode;
  /** The folder from which relative paths are resolved. */
  readonly cwd: string;
  readonly env: Environment;
  /** The `cairn/node` from which defaults of other parameters are derived. */
  readonly node: { readonly id: string; readonly dir: string };
  /** Every built-in module, by id. */
  readonly modules: ReadonlyMap<string, ModuleDescriptor>;
  /** The parameters that every module of a kind has because the node itself reads them. */
  readonly commonParameters: Readonly<Record<ModuleKind, Parameters>>;
  readonly problems: ProblemList;
  readonly settings: Setting[];
  /** Sentences for the operator, in the order in which they were added. */
  readonly notices: Set<string>;
  /** The top-level keys that values name. They are modules, which may be used in several places. */
  readonly shared: Map<
    string,
    { readonly kind: ModuleKind; readonly use: ModuleUse<ModuleKind> | undefined }
  >;
  /** The top-level keys that only a rejected parameter names. The problem is reported for that parameter. */
  readonly refused: Set<string>;
  /** The modules of older systems that have been translated. */
  readonly older: Set<string>;
  /** The top-level keys that are being read. They are recorded to detect modules that contain themselves. */
  readonly open: Set<string>;
  /** The checks that import users' modules. They run last. */
  readonly checks: (() => Promise<void>)[];
}

/**
 * Adds the problem that a value is not a map. The message does not contain the value, because a text in place of a map
 * may be a secret, such as a token in place of the map that names its file.
 */
export function expectedMap(node: ConfigNode, path: ConfigPath, reading: Reading, what: string): undefined {
  const isText = node.type === "string" || node.type === "symbol" || node.type === "keyword";
  if (!isText && node.type !== "number") return expected(node, path, reading, what);
  reading.problems.add(node.origin, path, `Expected ${what}, found ${isText ? "text" : "a number"}.`);
  return undefined;
}

export function expected(
  node: ConfigNode,
  path: ConfigPath,
  reading: Reading,
  what: string,
  hint?: string,
): undefined {
  const message = `Expected ${what}, found ${describeNode(node)}.`;
  const options = { hint: hint ?? (node.type === "call" ? ONLY_CALL : undefined) };
  reading.problems.add(node.origin, path, message, options);
  return undefined;
}
