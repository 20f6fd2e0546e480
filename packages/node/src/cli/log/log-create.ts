import { readLogIdentity, usedLog } from "../../log/log-identity.ts";
import { encodeBirthRecord } from "../../transactions/transaction-codec.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  type ConfiguredOptions,
} from "../options/command-options.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";
import { findLostLog, held, howToRecover, withLog } from "../places/log-place.ts";
import { CairnError, isCairnError } from "@cairn/kv";
import type { System } from "../../api/system.ts";

interface CreateOptions extends ConfiguredOptions {
  readonly empty?: boolean;
}

/** `cairn log create`. */
export const addLogCreate: AddCommand = (parent, terminal) => {
  describeConfiguredCommand(
    parent.command("create"),
    "Begin a new log on purpose, and not by the first node that starts",
    ["cairn log create -f cairn.edn", "cairn log create --empty -f cairn.edn"],
  )
    .option("--empty", "begin with nothing, though checkpoints of a log of this name are there")
    .action(async (options: CreateOptions) => {
      const log = await withLog(options, terminal, async (opened, system) => {
        const existing = await readLogIdentity(opened);
        if (existing !== undefined) throw usedLog(opened.name, existing.bounds.last);
        if (options.empty !== true) await requireNoCheckpoint(system, opened.name);
        // Marked, so that nodes do not take it for a wrong address when they find checkpoints of another log.
        await opened.create((id) => encodeBirthRecord({ log: id, offset: 0, deliberate: true }));
        return { name: opened.name, id: (await readLogIdentity(opened))?.id ?? null };
      });
      if (options.json === true) return writeJson(terminal.stdout, log);
      return writeLine(terminal.stdout, `began the log ${log.name} (id ${log.id})`);
    });
};

/** Nodes take nothing of what they hold for the new log's. */
async function requireNoCheckpoint(system: System, name: string): Promise<void> {
  const lost = await findLostLog(system, name).catch((error: unknown) => {
    if (!isCairnError(error)) throw error;
    throw new CairnError(error.code, `The log was not begun: ${error.message}`, {
      hint: "Whether there was one of its name, only its checkpoints tell. Without looking: cairn log create --empty.",
      cause: error,
    });
  });
  if (lost === undefined) return;
  throw new CairnError(
    "CONFLICT",
    `There was a log "${name}": ${held(lost)}, and a new one would have none of them.`,
    {
      hint: `${howToRecover(lost)} To begin with nothing all the same: cairn log create --empty.`,
    },
  );
}
