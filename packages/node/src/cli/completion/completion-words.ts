import type { Command } from "commander";

/** A word that can be completed, with its description. */
export interface Word {
  readonly name: string;
  readonly description: string;
}

/** An option. It has one or two names, such as `-f` and `--file`. */
export interface OptionWords {
  readonly names: readonly string[];
  readonly description: string;
  readonly takesValue: boolean;
  /** The values that the option accepts; empty if they cannot be listed. */
  readonly values: readonly string[];
}

export interface CommandWords {
  /** The command's words, each after a slash: empty for `cairn`, `/db/keys` for `cairn db keys`. */
  readonly path: string;
  /** The commands of a group, or the values of a command's argument; empty if they cannot be listed. */
  readonly words: readonly Word[];
  readonly options: readonly OptionWords[];
}

/** Returns what can follow each command, from the definitions from which the help is made. */
export function completionWords(program: Command): readonly CommandWords[] {
  const found: CommandWords[] = [];
  addWords(program, "", found);
  return found;
}

function addWords(command: Command, path: string, found: CommandWords[]): void {
  const help = command.createHelp();
  const values = command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices);
  found.push({
    path,
    words: [
      ...command.commands.map((one) => ({ name: one.name(), description: one.description() })),
      ...values.map((name) => ({ name, description: "" })),
    ],
    options: help.visibleOptions(command).map((option) => ({
      names: [option.short, option.long].filter((name) => name !== undefined),
      description: option.description,
      takesValue: option.required || option.optional,
      values: option.argChoices ?? [],
    })),
  });
  for (const one of command.commands) addWords(one, `${path}/${one.name()}`, found);
}

/** Returns a string in single quotes, which the shells take literally except for the single quote itself. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Returns the pattern of a `case` that matches the path of every command. */
export function anyCommand(commands: readonly CommandWords[]): string {
  return commands.flatMap(({ path }) => (path === "" ? [] : [path])).join("|");
}
