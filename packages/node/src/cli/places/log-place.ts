import { CairnError, isCairnError } from "@cairn/kv";
import { closeStores } from "../../checkpoints/checkpoint-stores.ts";
import type { System } from "../../api/system.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { JoinReport } from "../../join/join-report.ts";
import { newestCheckpointOfName } from "../../join/restore-index.ts";
import { formatCount } from "../terminal/quantities.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { configuredSystem } from "./configured-system.ts";

/** A checkpoint of a log that no longer exists. */
export type LostLog = NonNullable<Awaited<ReturnType<typeof newestCheckpointOfName>>>;

/** Returns the newest checkpoint of a log of this name in the stores from which nodes restore. */
export async function findLostLog(system: System, name: string): Promise<LostLog | undefined> {
  const { signal } = new AbortController();
  return await newestCheckpointOfName({ system, report: new JoinReport(), signal }, name);
}

/** Returns a `NOT_FOUND` for a log that does not exist. The log's checkpoints show whether it ever did. */
export async function noLog(name: string, system?: System): Promise<CairnError> {
  if (system === undefined) {
    return new CairnError("NOT_FOUND", `There is no log "${name}" there.`, {
      hint: "cairn log status shows whether there was one, and what to do.",
    });
  }
  let lost: LostLog | undefined;
  try {
    lost = await findLostLog(system, name);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return new CairnError("NOT_FOUND", `There is no log "${name}" there.`, {
      hint: `Only its checkpoints show whether there was one, and they cannot be read: ${error.code}: ${error.message} Run the command again once that is solved.`,
    });
  }
  if (lost === undefined) {
    return new CairnError("NOT_FOUND", `There is no log "${name}" there yet.`, {
      hint: "The first node that starts creates it.",
    });
  }
  return new CairnError("NOT_FOUND", `There is no log "${name}" there, but ${contents(lost)}.`, {
    hint: `Check the log's address and name. If the log is permanently lost: ${howToRecover(lost)}`,
  });
}

/** Returns a clause that names the transactions in a checkpoint of a lost log. */
export function contents({ name, store, txId }: LostLog): string {
  return `${name} in ${store} contains its transactions up to ${formatCount(txId)}`;
}

/** Returns a sentence with the command that begins a log with a checkpoint. */
export function howToRecover({ name, txId }: LostLog): string {
  return `cairn log recover --from ${name} begins one that continues after transaction ${formatCount(txId)}.`;
}

/** Runs `use` with the configured log and the other parts of its node, none of which was started. Closes the log and all stores. */
export async function withLog<T>(
  options: ConfigurationOptions,
  terminal: Terminal,
  use: (log: TxLog, system: System) => Promise<T>,
): Promise<T> {
  const system = await configuredSystem(options, terminal);
  try {
    const log = await system.openTxLog({ signal: new AbortController().signal });
    try {
      for (const { code, message, hint } of await inspected(log)) {
        terminal.stderr.write(`notice: ${code}: ${message} ${hint ?? ""}\n`);
      }
      return await use(log, system);
    } finally {
      await log.close();
    }
  } finally {
    await closeStores(system.checkpointer);
  }
}

/** Returns problems of the log that need attention; none if the log does not respond, since `use` will then fail in the same way. */
async function inspected(log: TxLog): Promise<readonly CairnError[]> {
  try {
    return (await log.inspect?.()) ?? [];
  } catch (error) {
    if (isCairnError(error)) return [];
    throw error;
  }
}
