import type { Logger } from "pino";
import { type CairnNode, runNode } from "./node.ts";
import type { NodeEventListener } from "../observe/node-event.ts";
import { createSystem } from "../config/create-system.ts";
import { tellOlderData } from "../config/older-data.ts";
import { readConfig, requireConfig } from "../config/read-config.ts";

/** What {@link startNode} takes beside the configuration. */
export interface StartNodeOptions {
  /** A pino logger; silent when left out. Notices about the configuration go there too. */
  readonly logger?: Logger;
  /**
   * Told the begin and the end of each checkpoint, restore, sweep, verification and trim, with what it came to, how long it took
   * and how many bytes it moved. What it throws is logged and harms nothing.
   */
  readonly onEvent?: NodeEventListener;
  /** Environment variables that the configuration may name and that override it; `process.env` when left out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What relative paths are relative to; the working directory when left out. */
  readonly cwd?: string;
}

/**
 * Starts a node in this process from a configuration as docs/configuration.md describes it, an object with the same keys as in
 * JSON (luxon Durations and ready-made stores, logs and KV providers are welcome in it). Answers once its HTTP server is bound;
 * `ready` resolves when it has caught up with its log. For no HTTP server set `"cairn/http-server": null`.
 *
 * Errors: `CONFIG_*` with every problem (nothing was started or created), `INDEX_LOCKED`, `PORT_IN_USE`.
 */
export async function startNode(config: object, options: StartNodeOptions = {}): Promise<CairnNode> {
  const { logger, onEvent, env = process.env, cwd = process.cwd() } = options;
  const resolved = requireConfig(await readConfig({ object: config, env, cwd }));
  const onNotice = (notice: string): void => logger?.warn(notice);
  for (const notice of resolved.notices) onNotice(notice);
  await tellOlderData(resolved, onNotice);
  const system = await createSystem(resolved, { onNotice });
  return await runNode(system, {
    ...(logger === undefined ? {} : { logger }),
    ...(onEvent === undefined ? {} : { onEvent }),
  });
}
