import type { Command } from "commander";
import { nearestName } from "../text/nearest-name.ts";

/**
 * The commands that a word which is none most likely means: those of a group by that name (`restore`: `checkpoint restore`), else those
 * that begin so, else the one that is spelt nearly so.
 */
export function suggestCommands(program: Command, word: string): readonly string[] {
  const named = program.commands.flatMap((group) =>
    group.commands.filter((command) => command.name() === word).map(() => `${group.name()} ${word}`),
  );
  if (named.length > 0) return named;
  const names = program.commands.map((command) => command.name());
  const begun = names.filter((name) => word.length > 1 && name.startsWith(word));
  if (begun.length > 0) return begun;
  const near = nearestName(word, names);
  return near === undefined ? [] : [near];
}
