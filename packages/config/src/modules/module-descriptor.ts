import { isCairnError } from "@cairn/kv";
import type { MapNode } from "../source/config-tree.ts";
import { OLDER_PARAMETERS } from "./aliases.ts";
import { lookupFolder } from "./user-module.ts";
import type {
  CommonValues,
  ModuleContext,
  ModuleKind,
  ModuleParts,
  ModuleUse,
} from "../types/module-kinds.ts";
import { type Inconsistency, readParameters } from "../types/read-parameters.ts";
import type { ModuleDescriptor, Parameters, ParameterValues, Reading, Value } from "../types/reading.ts";
import { madeOnce } from "@cairn/text";

interface Definition<K extends ModuleKind, P extends Parameters> extends Pick<
  ModuleDescriptor<K>,
  "id" | "kind" | "doc"
> {
  readonly parameters: P;
  readonly check?: (values: ParameterValues<P>) => Inconsistency | undefined;
  /** Returns sentences about parameters that have little effect in combination, each with the remedy. */
  readonly notices?: (values: ParameterValues<P>) => readonly string[];
  /** The variables that the part's libraries read by themselves, and that may be printed. */
  readonly variables?: readonly string[];
  /** Throws `CONFIG_INVALID` if something is missing that is installed only if a configuration needs it. */
  readonly requires?: (
    folder: string,
    values: ParameterValues<P>,
    use: Pick<Reading, "isForNode" | "problems">,
  ) => Promise<unknown>;
  /** Creates the part. Called at most once per system. `folder` is that of the configuration. */
  readonly create: (
    values: ParameterValues<P>,
    context: ModuleContext,
    folder: string,
  ) => Promise<ModuleParts[K]> | ModuleParts[K];
}

/** Describes a module whose parameters include those that the node itself reads of every module of the kind. */
export function defineModule<K extends ModuleKind, P extends Parameters>(
  definition: Definition<K, P> & (ParameterValues<P> extends CommonValues[K] ? unknown : never),
): ModuleDescriptor<K> {
  const { id, kind, doc, parameters, check, notices, requires, create } = definition;
  return {
    id,
    kind,
    doc,
    parameters,
    use(map: Value<MapNode>) {
      const values = readParameters(parameters, map, { what: id, hints: OLDER_PARAMETERS, check });
      if (values === undefined) return undefined;
      for (const notice of notices?.(values) ?? []) map.reading.notices.add(notice);
      for (const name of definition.variables ?? []) map.reading.libraryVariables.add(name);
      const folder = lookupFolder(map.node.origin, map.reading.cwd);
      if (requires !== undefined) {
        map.reading.checks.push(async () => {
          try {
            await requires(folder, values, map.reading);
          } catch (error) {
            if (!isCairnError(error, "CONFIG_INVALID")) throw error;
            map.refuse(`${id} cannot be used. ${error.message}`, error.hint);
          }
        });
      }
      // The type of `definition` ensures that the parameters include the common ones.
      return moduleUse(kind, id, values as CommonValues[K], (context) => create(values, context, folder));
    },
  };
}

/** The module's part is created only once per system, no matter how many parameters name the module. */
export function moduleUse<K extends ModuleKind>(
  kind: K,
  id: string,
  common: CommonValues[K],
  create: (context: ModuleContext) => Promise<ModuleParts[K]> | ModuleParts[K],
): ModuleUse<K> {
  // Parts are kept by context, so that two nodes in one process do not share a store that each of them closes.
  const made = new WeakMap<ModuleContext, Promise<ModuleParts[K]>>();
  return {
    kind,
    id,
    common,
    create: (context) => madeOnce(made, context, async () => create(context)),
  };
}
