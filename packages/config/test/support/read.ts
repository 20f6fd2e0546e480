import type { ConfigInput } from "../../src/config-sources.ts";
import type { ConfigProblem } from "../../src/source/problems.ts";
import { readConfig, requireConfig } from "../../src/read-config.ts";
import type { ResolvedConfig } from "../../src/read-config.ts";

const BASE = { env: { CAIRN_NODE_ID: "n1" }, cwd: "/srv" };

/** Returns the configuration of these sources. Throws if it has a problem. */
export async function configOf(input: Partial<ConfigInput>): Promise<ResolvedConfig> {
  return requireConfig(await readConfig({ ...BASE, ...input }));
}

/** Returns the problems of these sources. */
export async function problemsOf(input: Partial<ConfigInput>): Promise<readonly ConfigProblem[]> {
  const result = await readConfig({ ...BASE, ...input });
  return result.ok ? [] : result.problems;
}

/** Returns every value in effect by its path, with its origin. */
export function settingsOf(config: ResolvedConfig): Record<string, readonly [value: unknown, from: string]> {
  return Object.fromEntries(
    config.settings.map(({ path, value, origin }) => [path.join(" > "), [value, origin.label]]),
  );
}
