import { readSources } from "./config-sources.ts";
import type { ConfigInput } from "./config-sources.ts";
import { mergeSources, newReading } from "./merged-sources.ts";
import { TOP_LEVEL_ALIASES } from "./modules/aliases.ts";
import { ConfigError, ProblemList } from "./source/problems.ts";
import type { HttpOptions } from "@cairn/engine";
import { readHttp } from "./top-level.ts";

/**
 * Reads only the HTTP server's part of a configuration, for clients; undefined if there is none. Ignores problems of
 * other parts and of the parameters in `except`, and imports no modules. Throws {@link ConfigError}.
 */
export async function readHttpServer(
  input: ConfigInput,
  except: readonly string[],
): Promise<HttpOptions | undefined> {
  const problems = new ProblemList();
  const notices = new Set<string>();
  const sources = await readSources(input, problems);
  const http = readHttp(newReading(mergeSources(sources, input, notices), input, problems, notices, []));
  const about = problems.inOrder().filter(({ path: [top = "", parameter = ""] }) => {
    const isServer = (TOP_LEVEL_ALIASES.get(top) ?? top) === "cairn/http-server";
    return top === "" || (isServer && !except.includes(parameter));
  });
  if (http === undefined || about.length > 0)
    throw new ConfigError(about.length > 0 ? about : problems.inOrder());
  return http === false ? undefined : http;
}
