import { CairnError, isCairnError } from "@cairn/kv";
import { everyStore } from "../../system/checkpoint-stores.ts";
import type { System } from "../../system/system.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { JoinReport } from "../../join/join-report.ts";
import { newestCheckpointOfName } from "../../join/restore-index.ts";
import { formatCount } from "../terminal/quantities.ts";
import type { ConfigurationOptions } from "../options/configuration.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { configuredSystem } from "./configured-system.ts";

/** A checkpoint of a log that is not there. */
export type LostLog = NonNullable<Awaited<ReturnType<typeof newestCheckpointOfName>>>;

/** The newest checkpoint of a log of this name, in the stores that nodes look in. */
export async function findLostLog(system: System, name: string): Promise<LostLog | undefined> {
  const { signal } = new AbortController();
  return await newestCheckpointOfName({ system, report: new JoinReport(), signal }, name);
}

/** `NOT_FOUND`: there is no log, as yet or any more; which of them the checkpoints tell. */
export async function noLog(name: string, system?: System): Promise<CairnError> {
  if (system === undefined) {
    return new CairnError("NOT_FOUND", `There is no log "${name}" there.`, {
      hint: "cairn log status says whether there was one, and what to do.",
    });
  }
  let lost: LostLog | undefined;
  try {
    lost = await findLostLog(system, name);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return new CairnError("NOT_FOUND", `There is no log "${name}" there.`, {
      hint: `Whether there was one cannot be told, as its checkpoints cannot be looked at (${error.code}: ${error.message}) Ask again when they can.`,
    });
  }
  if (lost === undefined) {
    return new CairnError("NOT_FOUND", `There is no log "${name}" there yet.`, {
      hint: "The first node that starts makes it.",
    });
  }
  return new CairnError("NOT_FOUND", `There is no log "${name}" there, though ${held(lost)}.`, {
    hint: `Check the log's address and name. If the log is gone for good: ${howToRecover(lost)}`,
  });
}

/** What a checkpoint of a lost log holds, as a part of a sentence. */
export function held({ name, store, txId }: LostLog): string {
  return `${name} in ${store} holds transactions of one up to ${formatCount(txId)}`;
}

/** A sentence: the command that goes on from a checkpoint. */
export function howToRecover({ name, txId }: LostLog): string {
  return `cairn log recover --from ${name} begins one that goes on after transaction ${formatCount(txId)}.`;
}

/** Runs `use` with the log that the configuration names, and the other parts of its node, of which none was started. */
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
    for (const store of everyStore(system.checkpointer)) await store.close();
  }
}

/** What somebody should look at about the log; nothing where it cannot be asked, since then `use` runs into the same. */
async function inspected(log: TxLog): Promise<readonly CairnError[]> {
  try {
    return (await log.inspect?.()) ?? [];
  } catch (error) {
    if (isCairnError(error)) return [];
    throw error;
  }
}
