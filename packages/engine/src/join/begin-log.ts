import { isDeepStrictEqual } from "node:util";
import { CairnError, isCairnError } from "@cairn/kv";
import type { System } from "../api/system.ts";
import { readLineages, replacedLogs } from "../backup/backup-lineage.ts";
import { restoreStores } from "../checkpoints/checkpoint-stores.ts";
import { isUnused, type LogIdentity, readLogIdentity, usedLog } from "../log/log-identity.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { ContinuedLog } from "../transactions/birth-record.ts";
import { encodeBirthRecord } from "../transactions/transaction-codec.ts";
import { lookBeforeBeginning, toBeginEmpty } from "./may-begin.ts";

/**
 * Begins an empty log, and returns its id. Throws `CONFLICT` if there is a log or, unless `evenIfHeld`, if something
 * holds transactions of a log with this name, which nodes of a new log would lack.
 */
export async function beginEmptyLog(log: TxLog, system: System, evenIfHeld: boolean): Promise<string | null> {
  const existing = await readLogIdentity(log);
  if (existing !== undefined) throw usedLog(log.name, existing.bounds.last);
  if (!evenIfHeld) await requireNoHolder(log, system);
  // Marked as deliberate, so that nodes that find checkpoints of another log do not suspect a wrong address.
  await log.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
  return (await readLogIdentity(log))?.id ?? null;
}

async function requireNoHolder(log: TxLog, system: System): Promise<void> {
  const { holders, cure, override } = await lookBeforeBeginning(log, system).catch((error: unknown) => {
    if (!isCairnError(error)) throw error;
    const needed = error.code === "KEY_MISSING" ? "Configure its keys" : "Make the store reachable";
    throw new CairnError(error.code, `The log was not begun: ${error.message}`, {
      hint: `${needed}: only its checkpoints show whether there was a log of this name. ${toBeginEmpty(system)}`,
      cause: error,
    });
  });
  if (holders.length === 0) return;
  const message = `There was a log "${log.name}": ${holders.join("; ")}. A new log would have none of them.`;
  throw new CairnError("CONFLICT", message, `${cure} ${override}`);
}

/** Begins a log that continues another, in place of an unused one. Returns its id; throws `CONFLICT` for a used one. */
export async function continueLog(
  log: TxLog,
  system: System,
  existing: LogIdentity | undefined,
  continues: ContinuedLog,
): Promise<string> {
  if (existing !== undefined && isUnused(existing)) await log.removeUnused?.(existing.id);
  const replaces = await replacedBy(system, continues.log);
  const offset = continues.anchor.txId;
  const birth = { offset, deliberate: true, continues, ...(replaces.length > 0 && { replaces }) };
  await log.create((id) => encodeBirthRecord({ log: id, ...birth }));
  const begun = await readLogIdentity(log);
  // Of several concurrent commands, one creates the log. The others succeed only if it continues from their point.
  if (begun !== undefined && isDeepStrictEqual(begun.birth?.continues, continues)) return begun.id;
  throw usedLog(log.name, begun?.bounds.last ?? 0);
}

/** If a store cannot be read, returns none, and the times at which the logs were begun decide. */
async function replacedBy(system: System, continued: string): Promise<string[]> {
  try {
    return replacedLogs(await readLineages(restoreStores(system)), continued);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    return [];
  }
}
