import type { Command } from "commander";

/** A word that can be completed, with its description. */
export interface Word {
  readonly name: string;
  readonly description: string;
}

export interface CommandWords {
  /** The command's words, each after a slash: empty for `cairn`, `/db/keys` for `cairn db keys`. */
  readonly path: string;
  /** The commands of a group, or the values of a command's argument; empty if they cannot be listed. */
  readonly words: readonly Word[];
  /** Each has one or two names, such as `-f` and `--file`, and the values that it accepts, if they can be listed. */
  readonly options: readonly {
    readonly names: readonly string[];
    readonly description: string;
    readonly takesValue: boolean;
    readonly values: readonly Word[];
  }[];
}

/** Returns what can follow each command, from the definitions from which the help is made. */
export function completionWords(command: Command, path = ""): readonly CommandWords[] {
  const words = [
    ...command.commands.map((one) => ({ name: one.name(), description: one.description() })),
    ...command.registeredArguments.flatMap(({ argChoices = [] }) => argChoices.map(plain)),
  ];
  const options = command
    .createHelp()
    .visibleOptions(command)
    .map(({ short, long, description, required, optional, argChoices = [] }) => ({
      names: [short, long].filter((name) => name !== undefined),
      description,
      takesValue: required || optional,
      values: argChoices.map(plain),
    }));
  const inner = command.commands.flatMap((one) => completionWords(one, `${path}/${one.name()}`));
  return [{ path, words, options }, ...inner];
}

function plain(name: string): Word {
  return { name, description: "" };
}
