import { readLogIdentity } from "../../log/log-identity.ts";
import { encodeBirthRecord } from "../../transactions/transaction-codec.ts";
import { type AddCommand, describeCommand, type OutputOptions } from "../options/command-options.ts";
import { type ConfigurationOptions, configurationOptions } from "../options/configuration.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";
import { logExists, withLog } from "../places/log-place.ts";

/** `cairn log create`. */
export const addLogCreate: AddCommand = (parent, terminal) => {
  configurationOptions(
    describeCommand(
      parent.command("create"),
      "Begin a new log on purpose, though checkpoints of an older one of its name are there",
      ["cairn log create -f cairn.edn"],
    ),
  ).action(async (options: ConfigurationOptions & OutputOptions) => {
    const log = await withLog(options, terminal, async (opened) => {
      const existing = await readLogIdentity(opened);
      if (existing !== undefined) throw logExists(opened.name, existing.bounds.last);
      // Marked, so that nodes do not take it for a wrong address when they find checkpoints of another log.
      await opened.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
      return { name: opened.name, id: (await readLogIdentity(opened))?.id ?? null };
    });
    if (options.json === true) return writeJson(terminal.stdout, log);
    return writeLine(terminal.stdout, `began the log ${log.name} (id ${log.id})`);
  });
};
