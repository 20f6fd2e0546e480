import { resolve } from "node:path";
import { commonParameters } from "./modules/common-parameters.ts";
import type { ConfigInput, ConfigSources } from "./config-sources.ts";
import { DEFAULT_ORIGIN, emptyMap, findNode } from "./source/config-tree.ts";
import type { MapNode } from "./source/config-tree.ts";
import { defaultTree } from "./default-config.ts";
import { environmentTree, nodeFromEnvironment, variable } from "./environment.ts";
import { mergeTrees } from "./source/merge.ts";
import type { ProblemList } from "./source/problems.ts";
import type { ModuleDescriptor, Reading } from "./types/reading.ts";
import { absolutePath } from "./types/value-types.ts";
import { renameTopLevel } from "./top-level.ts";

/** All sources as one tree, each over those that are weaker. */
export function mergeSources(sources: ConfigSources, input: ConfigInput, notices: Set<string>): MapNode {
  const base = sources.base.map((tree) => renameTopLevel(tree, notices));
  const over = [sources.json, sources.edn]
    .filter((tree) => tree !== undefined)
    .map((tree) => renameTopLevel(tree, notices));
  const nothing = emptyMap(DEFAULT_ORIGIN);
  const given = new Set(base.flatMap((tree) => tree.entries.map((entry) => entry.name)));
  // The default's store lies in the node's folder, so what is said of that folder has to be known before the default is.
  const said = mergeTrees([...base, nodeFromEnvironment(input.env), ...over], nothing);
  const dir = findNode(said, "cairn/node", "dir");
  const written = dir?.type === "string" ? dir.text : "";
  const folder = absolutePath(written, input.cwd) ?? resolve(input.cwd, "cairn-data");
  const nats = variable(input.env, "NATS_URL") !== undefined;
  const below = [defaultTree(given, folder, nats), ...base];
  // Where a variable goes depends on what the other sources chose, those stronger than it included.
  const environment = environmentTree(input.env, mergeTrees([...below, ...over], nothing), notices);
  return mergeTrees([...below, environment, ...over], nothing);
}

/** A reading of that tree that has read nothing yet. */
export function newReading(
  root: MapNode,
  input: ConfigInput,
  problems: ProblemList,
  notices: Set<string>,
  modules: readonly ModuleDescriptor[],
): Reading {
  return {
    root,
    cwd: input.cwd,
    node: { id: "node", dir: resolve(input.cwd, "cairn-data") },
    modules: new Map(modules.map((module) => [module.id, module])),
    commonParameters,
    problems,
    settings: [],
    notices,
    shared: new Map(),
    refused: new Set(),
    older: new Set(),
    open: new Set(),
    checks: [],
  };
}
