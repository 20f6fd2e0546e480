import { commonParameters } from "../../src/modules/common-parameters.ts";
import { MODULES } from "../../src/modules/modules.ts";
import type { Parameters } from "../../src/types/reading.ts";
import { httpParameters } from "../../src/http-parameters.ts";
import { indexStoreParameters, nodeParameters } from "../../src/top-level.ts";

/** Generates the tables of docs/configuration.md from the reader's definitions, by the heading of each table. */
export function parameterTables(): ReadonlyMap<string, string> {
  return new Map([
    ["cairn/node", table(nodeParameters)],
    ["cairn/index-store", table(indexStoreParameters)],
    ["cairn/http-server", table(httpParameters)],
    ["cairn/indexes", table(commonParameters.index)],
    ...MODULES.map((module): [string, string] => [module.id, table(module.parameters)]),
  ]);
}

function table(parameters: Parameters): string {
  return ["| parameter | type | default | meaning |", "|---|---|---|---|", ...rows(parameters, "")].join(
    "\n",
  );
}

function rows(parameters: Parameters, prefix: string): readonly string[] {
  return Object.entries(parameters).flatMap(([name, { type, doc, required, defaultText }]) => {
    const label = `${prefix}\`${name}\``;
    const row = `| ${label} | ${type.name} | ${required ? "required" : (defaultText ?? "none")} | ${doc} |`;
    return [row, ...rows(type.parameters ?? {}, `${label} > `)];
  });
}
