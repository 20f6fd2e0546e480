import { beginEmptyLog } from "@cairn/engine";
import { command } from "../options/command.ts";
import { CONFIGURATION_OPTIONS } from "../options/configuration.ts";
import { flag } from "../options/option-specs.ts";
import { openLog, requireLogItself } from "../places/configured-system.ts";

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
    const { name, location = null } = log;
    const id = await beginEmptyLog(log, system, run.options.empty);
    const at = location === null ? "" : ` at ${location}`;
    await run.answer({ name, id, location }, `began the log ${name} (id ${id})${at}`);
  },
});
