import { Command, CommanderError } from "commander";
import type { AddCommand } from "./options/command.ts";
import { nearestName, VERSION, ownMember } from "@cairn/text";
import { HELP, reportError, UsageError } from "./terminal/report-error.ts";
import { ReaderGoneError, type Terminal, write } from "./terminal/terminal.ts";

/**
 * Runs one command and returns its exit code: 0 for success, 1 for a negative result, 2 for incorrect usage or
 * configuration, and 3 if a node, a service, a store or a disk failed. A command that was interrupted has the exit code
 * of its signal.
 */
export async function runCli(given: readonly string[], terminal: Terminal): Promise<number> {
  // Each command prints its own help for --help.
  const argv = given[0] === "help" ? [...given.slice(1), "--help"] : given;
  try {
    await run(argv, terminal);
    return 0;
  } catch (error) {
    if (error instanceof ReaderGoneError) return 0;
    // Everything after -- is an argument.
    const options = argv.slice(0, argv.includes("--") ? argv.indexOf("--") : undefined);
    return await reportError(error, terminal, {
      json: options.includes("--json"),
      debug: options.includes("--debug"),
    });
  }
}

async function run(argv: readonly string[], terminal: Terminal): Promise<void> {
  const help: string[] = [];
  const program = createProgram(terminal, await loadCommands(argv[0]), (text) => help.push(text));
  await refuseUnknown(program, argv, terminal);
  try {
    await program.parseAsync(argv, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError) || error.exitCode !== 0) throw error;
    // Commander itself would not notice that nothing was written.
    await write(terminal.stdout, help.join(""));
  }
}

function createProgram(
  terminal: Terminal,
  commands: readonly AddCommand[],
  onHelp: (text: string) => void = () => undefined,
): Command {
  const program = new Command("cairn")
    .description(
      "A checkpointing index store for clusters. Nodes join by restoring a checkpoint and replaying the rest of the log.",
    )
    .version(VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: onHelp,
      writeErr: (text) => terminal.stderr.write(text),
      // reportError prints all errors in the same format.
      outputError: () => undefined,
    })
    .showSuggestionAfterError(true)
    .helpCommand(false)
    .addHelpText("after", "\nExample:\n  $ cairn start\n  $ cairn COMMAND --help");
  for (const add of commands) add(program, terminal);
  return program;
}

/** Commander itself suggests only similar spellings, and never a command of another group. */
async function refuseUnknown(
  program: Command,
  [word, inner]: readonly string[],
  terminal: Terminal,
): Promise<void> {
  if (word === undefined || word.startsWith("-")) return;
  const command = program.commands.find((one) => one.name() === word);
  if (command === undefined) throw unknown(word, suggestions(program, word));
  if (command.commands.length === 0 || inner === undefined || inner.startsWith("-")) return;
  const names = command.commands.map((one) => one.name());
  if (names.includes(inner)) return;
  const near = nearestName(inner, names);
  const all = createProgram(terminal, await loadCommands());
  throw unknown(`${word} ${inner}`, near === undefined ? suggestions(all, inner) : [`${word} ${near}`]);
}

/**
 * Returns the commands that an unknown word may mean: those of that name in any group (`checkpoint restore` for
 * `restore`), else those that begin with it, else the one with the most similar spelling.
 */
function suggestions(program: Command, word: string): readonly string[] {
  const words = word.replaceAll(/[-:_/.]/g, " ");
  const named = commandPaths(program).filter((path) => path === words || path.endsWith(` ${words}`));
  if (named.length > 0) return named;
  const names = program.commands.map((command) => command.name());
  const begun = names.filter((name) => word.length > 1 && name.startsWith(word));
  return begun.length > 0 ? begun : [nearestName(word, names)].filter((name) => name !== undefined);
}

/** A group by itself is never a useful suggestion. */
function commandPaths({ commands }: Command): readonly string[] {
  return commands.flatMap((one) =>
    one.commands.length === 0 ? [one.name()] : commandPaths(one).map((path) => `${one.name()} ${path}`),
  );
}

function unknown(given: string, suggested: readonly string[]): UsageError {
  const commands = suggested.map((name) => `cairn ${name}`).join(" or ");
  const instead =
    given === "stop"
      ? "To stop a node, press Ctrl-C or send SIGTERM to its process."
      : `${commands === "" ? "" : `Did you mean ${commands}? `}${HELP}`;
  return new UsageError(`Unknown command ${JSON.stringify(given)}.`, instead);
}

/** In the order of the help text. Each is loaded when it is used, so that a node starts without waiting for others. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  start: async () => (await import("./node/start.ts")).addStart,
  status: async () => (await import("./node/status.ts")).addStatus,
  config: async () => (await import("./node/config.ts")).addConfig,
  load: async () => (await import("./data/load.ts")).addLoad,
  import: async () => (await import("./moving/import.ts")).addImport,
  export: async () => (await import("./moving/export.ts")).addExport,
  tx: async () => (await import("./data/tx.ts")).addTx,
  buckets: async () => (await import("./data/read.ts")).addBuckets,
  get: async () => (await import("./data/read.ts")).addGet,
  list: async () => (await import("./data/read.ts")).addList,
  history: async () => (await import("./data/read.ts")).addHistory,
  sql: async () => (await import("./data/sql.ts")).addSql,
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
