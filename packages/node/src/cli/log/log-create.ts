import { readLogIdentity, usedLog } from "../../log/log-identity.ts";
import { encodeBirthRecord } from "../../transactions/transaction-codec.ts";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag } from "../options/option-specs.ts";
import { requireLogItself, withLog } from "../places/log-place.ts";
import { lookBeforeBeginning, toBeginEmpty } from "../../join/may-begin.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { CairnError, isCairnError } from "@cairn/kv";
import type { System } from "../../api/system.ts";

export const addLogCreate = command({
  syntax: "create",
  description: "Create a new log now, instead of when the first node starts",
  examples: ["cairn log create -f cairn.edn", "cairn log create --empty -f cairn.edn"],
  options: {
    ...CONFIGURATION_OPTIONS,
    empty: flag("create an empty log even if something holds transactions of a log of this name"),
  },
  async act(run) {
    const log = await withLog(run.options, run.terminal, async (opened, system) => {
      requireLogItself(opened);
      const existing = await readLogIdentity(opened);
      if (existing !== undefined) throw usedLog(opened.name, existing.bounds.last);
      if (!run.options.empty) await requireNoHolder(opened, system);
      // The log is marked as deliberate, so that nodes that find checkpoints of another log do not suspect a wrong
      // address.
      await opened.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
      const { name, location } = opened;
      return { name, id: (await readLogIdentity(opened))?.id ?? null, location: location ?? null };
    });
    await run.answer(log, `began the log ${log.name} (id ${log.id})${at(log.location)}`);
  },
});

function at(location: string | null): string {
  return location === null ? "" : ` at ${location}`;
}

/** Throws `CONFLICT` if something holds transactions of a log with this name, which nodes of a new log would lack. */
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
  throw new CairnError("CONFLICT", message, { hint: `${cure} ${override}` });
}
