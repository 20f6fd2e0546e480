import { findEntry } from "../source/config-tree.ts";
import { OLDER_PARAMETERS } from "./aliases.ts";
import type {
  CommonValues,
  ModuleContext,
  ModuleKind,
  ModuleParts,
  ModuleUse,
} from "../types/module-kinds.ts";
import type { JsonSchema } from "../types/json-schema.ts";
import { readParameters } from "../types/read-parameters.ts";
import type { Parameters, ParameterValues, ModuleDescriptor } from "../types/reading.ts";

interface Definition<K extends ModuleKind, P extends Parameters> {
  readonly id: string;
  readonly kind: K;
  readonly doc: string;
  readonly parameters: P;
  /** The conditions of `check`, for editors. */
  readonly constraint?: JsonSchema;
  /** If the parameters are inconsistent, returns a message, a hint and the affected parameter. */
  readonly check?: (
    values: ParameterValues<P>,
  ) => { message: string; hint: string; parameter?: string } | undefined;
  /** Returns sentences about parameters that have little effect in combination, each with the remedy. */
  readonly notices?: (values: ParameterValues<P>) => readonly string[];
  readonly common: (values: ParameterValues<P>) => CommonValues[K];
  /** Creates the part. Called at most once per system. */
  readonly create: (
    values: ParameterValues<P>,
    context: ModuleContext,
  ) => Promise<ModuleParts[K]> | ModuleParts[K];
}

export function defineModule<K extends ModuleKind, P extends Parameters>(
  definition: Definition<K, P>,
): ModuleDescriptor<K> {
  const { id, kind, doc, parameters } = definition;
  return {
    id,
    kind,
    doc,
    parameters,
    constraint: definition.constraint ?? {},
    use(map, path, reading) {
      const values = readParameters(parameters, map, path, reading, {
        what: id,
        ignore: ["cairn/module"],
        hints: OLDER_PARAMETERS,
      });
      if (values === undefined) return undefined;
      const fault = definition.check?.(values);
      if (fault !== undefined) {
        const { message, hint, parameter } = fault;
        const entry = parameter === undefined ? undefined : findEntry(map, parameter);
        const at = parameter === undefined ? path : [...path, parameter];
        reading.problems.add(entry?.value.origin ?? map.origin, at, message, { hint });
        return undefined;
      }
      for (const notice of definition.notices?.(values) ?? []) reading.notices.add(notice);
      return moduleUse(kind, id, definition.common(values), (context) => definition.create(values, context));
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
    create(context) {
      const known = made.get(context);
      if (known !== undefined) return known;
      const part = (async () => create(context))();
      made.set(context, part);
      return part;
    },
  };
}
