import {
  readLogIdentity,
  usedLog,
  encodeBirthRecord,
  lookBeforeBeginning,
  toBeginEmpty,
  type TxLog,
  type System,
} from "@cairn/engine";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag } from "../options/option-specs.ts";
import { openLog, requireLogItself } from "../places/configured-system.ts";
import { CairnError, isCairnError } from "@cairn/kv";

export const addLogCreate = command({
  syntax: "create",
  description: "Create a new log now, instead of when the first node starts",
  examples: ["cairn log create -f cairn.edn", "cairn log create --empty -f cairn.edn"],
  options: {
    ...CONFIGURATION_OPTIONS,
    empty: flag("create an empty log even if something holds transactions of a log of this name"),
  },
  async act(run) {
    const { log, system } = await openLog(run);
    requireLogItself(log);
    const existing = await readLogIdentity(log);
    const { name, location = null } = log;
    if (existing !== undefined) throw usedLog(name, existing.bounds.last);
    if (!run.options.empty) await requireNoHolder(log, system);
    // Marked as deliberate, so that nodes that find checkpoints of another log do not suspect a wrong address.
    await log.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
    const id = (await readLogIdentity(log))?.id ?? null;
    const at = location === null ? "" : ` at ${location}`;
    await run.answer({ name, id, location }, `began the log ${name} (id ${id})${at}`);
  },
});

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
  throw new CairnError("CONFLICT", message, `${cure} ${override}`);
}
