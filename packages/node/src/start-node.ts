import { type Logger, pino } from "pino";
import { type CairnNode, closeStores, type NodeEventListener, runEngine, type System } from "@cairn/engine";
import {
  ConfigError,
  type ConfigProblem,
  createSystem,
  type NodeConfig,
  readConfig,
  requireConfig,
  tellOlderData,
} from "@cairn/config";
import { openHttpFiles, prometheusMetrics, startHttpServer } from "@cairn/http";

/** Starts the node that a system describes. Throws the errors of {@link runEngine}. */
export async function runNode(
  system: System,
  options: Parameters<typeof runEngine>[2] = {},
): Promise<CairnNode> {
  return await runEngine(system, { serve: startHttpServer, measure: prometheusMetrics }, options);
}

/** Reads the files without which the node could not start, but starts nothing. Throws the errors of a start. */
export async function readFilesOf(
  config: Parameters<typeof createSystem>[0],
  onNotice: (notice: string) => void,
): Promise<void> {
  const system = await createSystem(config, { onNotice });
  await closeStores(system);
  if (system.http === undefined) return;
  const log = (_fields: object, message: string): void => onNotice(message);
  const files = await openHttpFiles(system.http, { logger: { error: log, warn: log, debug: log } });
  await files.close();
}

export interface StartNodeOptions {
  /**
   * A pino logger, which also receives notices about the configuration. By default, warnings and failures are written to
   * stderr, as lines of JSON.
   */
  readonly logger?: Logger;
  /**
   * Called at the beginning and the end of each task, such as a checkpoint round or a trim; at the end with the
   * outcome, the duration and the number of bytes moved. Errors that it throws are logged and otherwise ignored.
   */
  readonly onEvent?: NodeEventListener;
  /** The variables override the configuration, which may also refer to them. Defaults to `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** The folder to which relative paths refer. Defaults to the working directory. */
  readonly cwd?: string;
}

/**
 * Starts a node in this process. The configuration is an object with the same keys as in JSON (docs/configuration.md).
 * It may also contain luxon Durations and instances of stores, logs and KV providers. Resolves once the HTTP server is
 * bound; `ready` resolves when the node has caught up with its log. With `"cairn/http-server": null`, no HTTP server is
 * started.
 *
 * Throws a `CONFIG_*` error with all problems of the configuration before anything is started or created. Throws
 * `CONFIG_MODULE` if Cairn was bundled into a program without all of its files, and `INDEX_LOCKED` or `PORT_IN_USE` if
 * the db-dir or the port is in use.
 */
export async function startNode(config: NodeConfig, options: StartNodeOptions = {}): Promise<CairnNode> {
  requireOptions(options);
  const { logger = warnings(), onEvent, env = process.env, cwd = process.cwd() } = options;
  const resolved = requireConfig(await readConfig({ object: config, env, cwd, isForNode: true }));
  const onNotice = (notice: string): void => logger.warn(notice);
  for (const notice of resolved.notices) onNotice(notice);
  void tellOlderData(resolved, onNotice);
  const system = await createSystem(resolved, { onNotice });
  return await runNode(system, {
    logger,
    ...(onEvent === undefined ? {} : { onEvent }),
  });
}

/** What a program without types may pass in place of options, which would otherwise fail deep in the node. */
const OPTIONS: {
  readonly [Name in keyof StartNodeOptions]-?: readonly [is: (value: unknown) => boolean, what: string];
} = {
  logger: [(value) => typeof (value as Partial<Logger> | null)?.child === "function", "a pino logger"],
  onEvent: [(value) => typeof value === "function", "a function"],
  env: [isObject, "an object of variables"],
  cwd: [(value) => typeof value === "string", "the path of a folder"],
};

function requireOptions(options: unknown): void {
  if (!isObject(options)) throw new ConfigError([refusedOption([], "an object")]);
  const expected = new Map(Object.entries(OPTIONS));
  const problems: ConfigProblem[] = [];
  for (const [name, value] of Object.entries(options)) {
    const [is, what] = expected.get(name) ?? [];
    if (value === undefined || is?.(value) === true) continue;
    problems.push(refusedOption([name], what ?? `one of the options ${[...expected.keys()].join(", ")}`));
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

function refusedOption(path: readonly string[], what: string): ConfigProblem {
  return {
    code: "CONFIG_INVALID",
    path,
    place: "options of startNode",
    message: `Expected ${what}.`,
    hint: `Pass ${what}, or omit ${path.join("") || "the options"}.`,
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function warnings(): Logger {
  return pino({ level: "warn" }, pino.destination(2));
}
