import type { AddCommand } from "./options/command.ts";
import { ownMember } from "@cairn/text";

/** In the order of the help text. Each is loaded when it is used, so that a node starts without waiting for others. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  start: async () => (await import("./node/start.ts")).addStart,
  status: async () => (await import("./node/status.ts")).addStatus,
  config: async () => (await import("./node/config.ts")).addConfig,
  load: async () => (await import("./data/load.ts")).addLoad,
  import: async () => (await import("./moving/import.ts")).addImport,
  export: async () => (await import("./moving/export.ts")).addExport,
  tx: async () => (await import("./data/tx.ts")).addTx,
  get: async () => (await import("./data/read.ts")).addGet,
  list: async () => (await import("./data/read.ts")).addList,
  history: async () => (await import("./data/read.ts")).addHistory,
  events: async () => (await import("./data/events.ts")).addEvents,
  evictions: async () => (await import("./data/events.ts")).addEvictions,
  policy: async () => (await import("./data/policy.ts")).addPolicy,
  queue: async () => (await import("./queue/queue.ts")).addQueue,
  watch: async () => (await import("./data/watch.ts")).addWatch,
  checkpoint: async () => (await import("./checkpoint/checkpoint.ts")).addCheckpoint,
  db: async () => (await import("./db/db.ts")).addDb,
  log: async () => (await import("./log/log.ts")).addLog,
  completion: async () => (await import("./completion/completion.ts")).completionOf(loadCommands),
  version: async () => (await import("./node/version.ts")).addVersion,
};

/** Loads the command `name`. If there is no such command, loads all commands, for the help text and for suggestions. */
export async function loadCommands(name?: string): Promise<readonly AddCommand[]> {
  const one = name === undefined ? undefined : ownMember(COMMANDS, name);
  if (one !== undefined) return [await one()];
  return await Promise.all(Object.values(COMMANDS).map(async (load) => await load()));
}
