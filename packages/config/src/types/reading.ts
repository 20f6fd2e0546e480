import { describeNode, findEntry, normalizeName, ONLY_CALL } from "../source/config-tree.ts";
import type { ConfigNode, MapNode, Origin } from "../source/config-tree.ts";
import type { WithoutUndefined } from "@cairn/text";
import type { Environment } from "../source/interpolate.ts";
import type { ConfigPath, ConfigProblem, ProblemList } from "../source/problems.ts";
import type { JsonSchema, SettingValue } from "./json-schema.ts";
import type { ModuleKind, ModuleUse } from "./module-kinds.ts";

/** The value that is shown in place of a secret. */
export const SECRET = "(secret)";

export interface Setting {
  readonly path: ConfigPath;
  /** The value in the form of JSON. It is redacted if it is secret. */
  readonly value: SettingValue;
  readonly origin: Origin;
  readonly isPath?: true;
  /** True if the value was written as a path from the working directory. */
  readonly isRelative?: boolean;
}

/** The type of a parameter: how its values are read, its name in the documentation, and its description for editors. */
export interface ValueType<T> {
  /** The type's name in docs/configuration.md. */
  readonly name: string;
  /** The form of the values, for editors. The values themselves are checked when they are read. */
  readonly jsonSchema: JsonSchema;
  readonly isPath?: true;
  readonly isSecret?: true;
  readonly parameters?: Parameters;
  /** Returns the value, or undefined after adding a problem. */
  read(value: Value): T | undefined;
  /** Returns the value in the form of `config print`. Absent if reading records settings of its own. */
  show?(value: T): SettingValue | undefined;
}

/** A parameter: its type, whether it is required, and its description in docs/configuration.md. */
export interface Parameter<T> {
  readonly type: ValueType<unknown>;
  readonly doc: string;
  readonly required: boolean;
  readonly defaultText: string | undefined;
  /** The default, or a function that returns it. The function receives an empty map in place of the value. */
  readonly fallback: T | ((absent: Value) => T | undefined) | undefined;
}

export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** The values by the parameters' names in camel case. Absent values are left out. */
export type ParameterValues<P extends Parameters> = WithoutUndefined<{
  readonly [Name in keyof P & string as CamelCase<Name>]: P[Name] extends Parameter<infer T> ? T : never;
}>;

type CamelCase<Name extends string> = Name extends `${infer Plain}?`
  ? CamelCase<Plain>
  : Name extends `${infer First}-${infer Rest}`
    ? `${First}${Capitalize<CamelCase<Rest>>}`
    : Name;

/** A built-in module, for the reader, the documentation and editors. */
export interface ModuleDescriptor<K extends ModuleKind = ModuleKind> {
  readonly id: string;
  readonly kind: K;
  readonly doc: string;
  readonly parameters: Parameters;
  /** Reads the parameters. Returns undefined after adding problems. */
  use(map: Value<MapNode>): ModuleUse<K> | undefined;
}

/** One pass over a merged configuration: its input and its collected results. */
export interface Reading {
  readonly root: MapNode;
  /** The folder from which relative paths are resolved. */
  readonly cwd: string;
  readonly env: Environment;
  /** Whether a node is started, rather than a command that does without what only nodes need. */
  readonly isForNode: boolean;
  /** The `cairn/node` from which defaults of other parameters are derived. */
  readonly node: { readonly id: string; readonly dir: string };
  readonly modules: ReadonlyMap<string, ModuleDescriptor>;
  /** The parameters that every module of a kind has because the node itself reads them. */
  readonly commonParameters: Readonly<Record<ModuleKind, Parameters>>;
  readonly problems: ProblemList;
  readonly settings: Setting[];
  /** The variables that Node and libraries of the modules read by themselves. None of them is a secret. */
  readonly libraryVariables: Set<string>;
  /** Sentences for the operator, in the order in which they were added. */
  readonly notices: Set<string>;
  /** The top-level keys that values name. They are modules, which may be used in several places. */
  readonly shared: Map<
    string,
    { readonly kind: ModuleKind; readonly use: ModuleUse<ModuleKind> | undefined }
  >;
  /** The top-level keys that only a rejected parameter names. The problem is reported for that parameter. */
  readonly refused: Set<string>;
  /** The top-level keys that values name which a stronger source has replaced. */
  readonly replaced: Set<string>;
  /** The modules of older systems that have been translated. */
  readonly older: Set<string>;
  /** The top-level keys that are being read. They are recorded to detect modules that contain themselves. */
  readonly open: Set<string>;
  /** The checks that read files or import users' modules. They run last. */
  readonly checks: (() => Promise<void>)[];
}

/** Adds the top-level keys that a value without effect names, itself or in the modules that it names. */
export function addNames(node: ConfigNode, names: Set<string>, root: MapNode): void {
  if (node.type === "map") for (const { value } of node.entries) addNames(value, names, root);
  if (node.type === "list") for (const item of node.items) addNames(item, names, root);
  if (node.type !== "keyword" && node.type !== "string" && node.type !== "symbol") return;
  const name = normalizeName(node.text);
  const shared = findEntry(root, name);
  if (shared === undefined || names.has(name)) return;
  names.add(name);
  addNames(shared.value, names, root);
}

/** A value that is being read, with its place in the configuration. */
export class Value<N extends ConfigNode = ConfigNode> {
  readonly node: N;
  readonly path: ConfigPath;
  readonly reading: Reading;

  constructor(node: N, path: ConfigPath, reading: Reading) {
    this.node = node;
    this.path = path;
    this.reading = reading;
  }

  /** Returns another value with the same place. */
  as<M extends ConfigNode>(node: M): Value<M> {
    return new Value(node, this.path, this.reading);
  }

  at<M extends ConfigNode>(name: string | number, node: M): Value<M> {
    return new Value(node, [...this.path, name], this.reading);
  }

  refuse(message: string, hint?: string, code?: ConfigProblem["code"]): undefined {
    this.reading.problems.add(this.node.origin, this.path, message, hint, code);
  }

  expected(what: string, hint = usualHint(this.node)): undefined {
    return this.refuse(`Expected ${what}, found ${describeNode(this.node)}.`, hint);
  }

  /** The message does not contain the value, because a text in place of a map may be a secret, such as a token. */
  expectedMap(what: string): undefined {
    const { type } = this.node;
    const isText = type === "string" || type === "symbol" || type === "keyword";
    if (!isText && type !== "number") return this.expected(what);
    return this.refuse(`Expected ${what}, found ${isText ? "text" : "a number"}.`);
  }

  /** Records a value that takes effect here. */
  record(value: SettingValue): void {
    this.reading.settings.push({ path: this.path, value, origin: this.node.origin });
  }
}

/** Returns the hint for a value of which only its kind, or its origin, shows the cause. */
function usualHint(node: ConfigNode): string | undefined {
  if (node.type === "call") return ONLY_CALL;
  const isLink = node.origin.kind === "environment" && node.type === "string" && SERVICE_LINK.test(node.text);
  return isLink ? NO_SERVICE_LINKS : undefined;
}

const SERVICE_LINK = /^(?:tcp|udp|sctp):\/\//;
const NO_SERVICE_LINKS =
  "Kubernetes sets this variable for a Service of that name: write enableServiceLinks: false in the pod's spec, or rename the Service.";
