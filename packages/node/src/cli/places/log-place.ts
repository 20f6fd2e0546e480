import { CairnError, isCairnError } from "@cairn/kv";
import { closeStores } from "../../checkpoints/checkpoint-stores.ts";
import type { System } from "../../api/system.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { type AskedLog, type Beginning, lookBeforeBeginning } from "../../join/may-begin.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { configuredSystem } from "./configured-system.ts";

/** Returns `NOT_FOUND` for a log that does not exist. `system` shows whether it once existed. */
export async function noLog(log: AskedLog, system?: System): Promise<CairnError> {
  const message = `There is no log "${log.name}" there`;
  if (system === undefined) {
    return new CairnError("NOT_FOUND", `${message}.`, {
      hint: "Run cairn log status, which shows whether there was one and what to do.",
    });
  }
  let found: Beginning;
  try {
    found = await lookBeforeBeginning(log, system);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return new CairnError("NOT_FOUND", `${message}.`, {
      hint: `Solve this problem and run the command again, because only the log's checkpoints and its backup show whether there was one: ${error.code}: ${error.message}`,
    });
  }
  const { holders, cure, override, unknown } = found;
  if (holders.length > 0) {
    const hint = `Check the log's address and name. ${cure} ${override}`;
    return new CairnError("NOT_FOUND", `${message}, but ${holders.join("; ")}.`, { hint });
  }
  const doubts = unknown.map((one) => ` It is unknown whether there was one: ${one.code}: ${one.message}`);
  return new CairnError("NOT_FOUND", `${message} yet.`, {
    hint: `Start a node: the first node that starts creates the log.${doubts.join("")}`,
  });
}

/**
 * Runs `use` with the configured log and the other parts of its node, none of which has been started. Before that,
 * prints the log's problems as notices. Closes the log and all stores.
 */
export async function withLog<T>(
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (log: TxLog, system: System) => Promise<T>,
): Promise<T> {
  return await withStores(options, terminal, async (system) => {
    const log = await system.openTxLog({ signal: new AbortController().signal });
    try {
      for (const { code, message, hint } of await inspected(log)) {
        terminal.stderr.write(`notice: ${code}: ${message} ${hint ?? ""}\n`);
      }
      return await use(log, system);
    } finally {
      await log.close();
    }
  });
}

/** Throws `LOG_READ_ONLY` if the configured log is read from its backup, so that no log can be begun in its place. */
export function requireLogItself({ backup }: TxLog): void {
  if (backup === undefined) return;
  throw new CairnError(
    "LOG_READ_ONLY",
    `This configuration reads the log from its backup in ${backup.location}, so no log can be begun with it.`,
    {
      hint: "Nothing was changed. Run the command with the configuration of a node that has access to the log itself (-f FILE); nodes that read the backup follow the new log.",
    },
  );
}

/** Runs `use` with the parts of the configured node, none of which has been started. Closes all stores. */
export async function withStores<T>(
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (system: System) => Promise<T>,
): Promise<T> {
  const system = await configuredSystem(options, terminal);
  try {
    return await use(system);
  } finally {
    await closeStores(system);
  }
}

/**
 * Returns the problems of a log that need attention. Returns none if the log does not respond, because `use` will then
 * fail in the same way.
 */
async function inspected(log: TxLog): Promise<readonly CairnError[]> {
  try {
    return (await log.inspect?.()) ?? [];
  } catch (error) {
    if (isCairnError(error)) return [];
    throw error;
  }
}
