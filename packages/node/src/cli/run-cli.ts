import { Command, CommanderError } from "commander";
import type { AddCommand } from "./options/command.ts";
import { loadCommands } from "./commands.ts";
import { VERSION } from "../api/version.ts";
import { adviceInstead, suggestCommands, suggestInGroup } from "./suggest-command.ts";
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
  if (command === undefined) throw unknown(word, adviceInstead(word), suggestCommands(program, word));
  if (command.commands.length === 0 || inner === undefined || inner.startsWith("-")) return;
  if (command.commands.some((one) => one.name() === inner)) return;
  const all = createProgram(terminal, await loadCommands());
  throw unknown(`${word} ${inner}`, undefined, suggestInGroup(all, command, inner));
}

function unknown(given: string, advice: string | undefined, suggestions: readonly string[]): UsageError {
  const commands = suggestions.map((name) => `cairn ${name}`).join(" or ");
  const hint = advice ?? (commands === "" ? HELP : `Did you mean ${commands}? ${HELP}`);
  return new UsageError(`Unknown command ${JSON.stringify(given)}.`, hint);
}
