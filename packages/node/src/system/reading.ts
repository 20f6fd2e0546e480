import type { ConfigNode, MapNode, Origin } from "./config-tree.ts";
import { describeNode } from "./config-tree.ts";
import type { ModuleDescriptor } from "./module-descriptor.ts";
import type { ModuleKind, ModuleUse } from "./module-kinds.ts";
import type { Parameters } from "./parameter.ts";
import type { ProblemList } from "./problems.ts";

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

/** A plain value, as JSON has them. */
export type SettingValue =
  | null
  | boolean
  | number
  | string
  | readonly SettingValue[]
  | { readonly [name: string]: SettingValue };

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
  reading.problems.add(node.origin, path, message, hint === undefined ? {} : { hint });
  return undefined;
}
