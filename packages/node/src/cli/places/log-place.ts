import { CairnError, isCairnError } from "@cairn/kv";
import { closeStores, restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import type { System } from "../../api/system.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { faultOf, furtherButUnusable, recoverCommand } from "../../join/join-errors.ts";
import { findLostLog, lastOf, type LostLog } from "../../join/lost-log.ts";
import { formatCount } from "../../text/quantities.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { configuredSystem } from "./configured-system.ts";

/** Returns what remains of a log that no longer exists, in the stores from which nodes restore. */
export async function findLost(system: System, name: string): Promise<LostLog | undefined> {
  return await findLostLog(restoreStores(system), name);
}

/** Returns `NOT_FOUND` for a log that does not exist. Checkpoints and a backup would show that it once existed. */
export async function noLog(name: string, system?: System): Promise<CairnError> {
  if (system === undefined) {
    return new CairnError("NOT_FOUND", `There is no log "${name}" there.`, {
      hint: "Run cairn log status, which shows whether there was one and what to do.",
    });
  }
  let lost: LostLog | undefined;
  try {
    lost = await findLost(system, name);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return new CairnError("NOT_FOUND", `There is no log "${name}" there.`, {
      hint: `Solve this problem and run the command again, because only the log's checkpoints and its backup show whether there was one: ${error.code}: ${error.message}`,
    });
  }
  if (lost === undefined) {
    return new CairnError("NOT_FOUND", `There is no log "${name}" there yet.`, {
      hint: "Start a node: the first node that starts creates the log.",
    });
  }
  return new CairnError("NOT_FOUND", `There is no log "${name}" there, but ${contents(lost)}.`, {
    hint: `Check the log's address and name. If the log is permanently lost, ${howToRecover(lost)}`,
  });
}

/** Returns a clause that names the transactions of a lost log that a store still holds. */
export function contents(lost: LostLog): string {
  const { checkpoint, backup, unusable } = lost;
  if (checkpoint === undefined && backup === undefined && unusable !== undefined)
    return `the manifest of ${unusable.name} in ${unusable.store} shows its transactions up to ${formatCount(unusable.txId)}`;
  const holder =
    backup === undefined
      ? `${checkpoint?.name} in ${checkpoint?.store} contains`
      : `its backup in ${backup.store} contains`;
  return `${holder} its transactions up to ${formatCount(lastOf(lost))}`;
}

/** Returns a clause with the command that continues a lost log. */
export function howToRecover(lost: LostLog): string {
  const { checkpoint, backup, unusable } = lost;
  if (checkpoint === undefined && backup === undefined && unusable !== undefined)
    return `make ${unusable.name} usable (${faultOf(unusable)}), and run ${recoverCommand(lost)}.`;
  const further = unusable === undefined ? "" : ` ${furtherButUnusable(unusable)}.`;
  return `run ${recoverCommand(lost)}, which begins a log that continues after transaction ${formatCount(lastOf(lost))}.${further}`;
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
