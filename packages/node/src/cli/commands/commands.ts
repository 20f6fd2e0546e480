import type { AddCommand } from "../command-options.ts";

/**
 * Every command, in the order of the help. Loaded when it is asked for: a node that starts would wait for what only other commands
 * need.
 */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  start: async () => (await import("./start.ts")).addStart,
  status: async () => (await import("./status.ts")).addStatus,
  config: async () => (await import("./config.ts")).addConfig,
  load: async () => (await import("./load.ts")).addLoad,
  tx: async () => (await import("./tx.ts")).addTx,
  get: async () => (await import("./get.ts")).addGet,
  list: async () => (await import("./list.ts")).addList,
  history: async () => (await import("./history.ts")).addHistory,
  events: async () => (await import("./events.ts")).addEvents,
  evictions: async () => (await import("./evictions.ts")).addEvictions,
  policy: async () => (await import("./policy.ts")).addPolicy,
  watch: async () => (await import("./watch.ts")).addWatch,
  checkpoint: async () => (await import("./checkpoint.ts")).addCheckpoint,
  db: async () => (await import("./db.ts")).addDb,
  log: async () => (await import("./log.ts")).addLog,
};

/** The command of that name alone; without a name, or with one that is none, all of them: for the help, and to suggest the right one. */
export async function loadCommands(name?: string): Promise<readonly AddCommand[]> {
  const one = name !== undefined && Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (one !== undefined) return [await one()];
  return await Promise.all(Object.values(COMMANDS).map(async (load) => await load()));
}
