import { readLogIdentity, usedLog } from "../../log/log-identity.ts";
import { encodeBirthRecord } from "../../transactions/transaction-codec.ts";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag } from "../options/option-specs.ts";
import { contents, findLost, howToRecover, requireLogItself, withLog } from "../places/log-place.ts";
import { CairnError, isCairnError } from "@cairn/kv";
import type { System } from "../../api/system.ts";

export const addLogCreate = command({
  syntax: "create",
  description: "Create a new log now, instead of when the first node starts",
  examples: ["cairn log create -f cairn.edn", "cairn log create --empty -f cairn.edn"],
  options: {
    ...CONFIGURATION_OPTIONS,
    empty: flag("create an empty log even if there are checkpoints of a log of this name"),
  },
  async act(run) {
    const log = await withLog(run.options, run.terminal, async (opened, system) => {
      requireLogItself(opened);
      const existing = await readLogIdentity(opened);
      if (existing !== undefined) throw usedLog(opened.name, existing.bounds.last);
      if (!run.options.empty) await requireNoCheckpoint(system, opened.name);
      // The log is marked as deliberate, so that nodes that find checkpoints of another log do not suspect a wrong
      // address.
      await opened.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
      return { name: opened.name, id: (await readLogIdentity(opened))?.id ?? null };
    });
    await run.answer(log, `began the log ${log.name} (id ${log.id})`);
  },
});

/** Throws `CONFLICT` if there are checkpoints of a log of this name, because nodes of a new log would ignore them. */
async function requireNoCheckpoint(system: System, name: string): Promise<void> {
  const lost = await findLost(system, name).catch((error: unknown) => {
    if (!isCairnError(error)) throw error;
    const cure = error.code === "KEY_MISSING" ? "Configure its keys" : "Make the store reachable";
    throw new CairnError(error.code, `The log was not begun: ${error.message}`, {
      hint: `${cure}: only its checkpoints show whether there was a log of this name. To create an empty log without checking, run cairn log create --empty.`,
      cause: error,
    });
  });
  if (lost === undefined) return;
  throw new CairnError(
    "CONFLICT",
    `There was a log "${name}": ${contents(lost)}, and a new log would have none of them.`,
    {
      hint: `To continue the lost log, ${howToRecover(lost)} To create an empty log anyway, run cairn log create --empty.`,
    },
  );
}
