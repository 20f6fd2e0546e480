import type { ConfigInput } from "../../../src/config/config-sources.ts";
import type { ConfigProblem } from "../../../src/config/source/problems.ts";
import { readConfig, requireConfig } from "../../../src/config/read-config.ts";
import type { ResolvedConfig } from "../../../src/config/read-config.ts";

const BASE = { env: { CAIRN_NODE_ID: "n1" }, cwd: "/srv" };

/** The configuration of some sources; throws when it has a problem. */
export async function configOf(input: Partial<ConfigInput>): Promise<ResolvedConfig> {
  return requireConfig(await readConfig({ ...BASE, ...input }));
}

/** What is wrong with some sources. */
export async function problemsOf(input: Partial<ConfigInput>): Promise<readonly ConfigProblem[]> {
  const result = await readConfig({ ...BASE, ...input });
  return result.ok ? [] : result.problems;
}

/** Every value that took effect, by its path, with the place it came from. */
export function settingsOf(config: ResolvedConfig): Record<string, readonly [value: unknown, from: string]> {
  return Object.fromEntries(
    config.settings.map(({ path, value, origin }) => [path.join(" > "), [value, origin.label]]),
  );
}
