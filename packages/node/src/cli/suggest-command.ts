import type { Command } from "commander";
import { nearestName } from "../text/nearest-name.ts";

/** Words from other tools, and Cairn's equivalent commands. */
export const SYNONYMS: readonly (readonly [words: string, commands: readonly string[]])[] = [
  ["write set insert add upsert", ["tx put", "policy apply"]],
  ["read fetch cat", ["get", "db get"]],
  [
    "ls dir find query search scan select",
    ["list", "checkpoint list", "db keys", "policy show", "log status"],
  ],
  ["list", ["list", "checkpoint list", "db keys", "policy show", "log status"]],
  ["get", ["get", "policy show"]],
  ["rm del remove drop erase", ["tx delete", "checkpoint prune", "log trim"]],
  ["delete", ["tx delete", "checkpoint prune", "log trim"]],
  ["run serve server up boot init node", ["start", "log create"]],
  ["info health ping ready doctor ps state", ["status", "log status", "checkpoint show", "db stats"]],
  ["nodes cluster members peers", ["status --cluster"]],
  ["show describe", ["checkpoint show", "config print", "log status", "policy show", "db stats"]],
  ["backup snapshot save", ["checkpoint create"]],
  ["download unpack", ["checkpoint restore"]],
  ["gc clean cleanup purge vacuum", ["checkpoint prune", "log trim", "db compact"]],
  ["validate lint test", ["config check", "checkpoint verify", "db check"]],
  ["scrub fsck", ["db check"]],
  ["repair recover", ["log recover"]],
  ["migrate upgrade", ["config convert", "checkpoint create --rebuild"]],
  ["dump unload", ["export", "db keys"]],
  ["ingest bulk", ["import ndjson"]],
  ["tail follow subscribe stream", ["watch"]],
  ["versions log", ["history", "db history"]],
  ["about", ["version"]],
  ["cp checkpoints", ["checkpoint list"]],
];

/** Advice for commands that Cairn does not have, listed by the words that users may try. */
const ALTERNATIVES: readonly (readonly [words: string, advice: string])[] = [
  ["stop shutdown kill down quit", "To stop a node, press Ctrl-C or send SIGTERM to its process."],
];

/** Returns advice for a command that Cairn does not have; undefined if the word may be a misspelt command. */
export function adviceInstead(word: string): string | undefined {
  return lookUp(ALTERNATIVES, word);
}

/**
 * Returns the commands that an unknown word most likely means. They are the first of these that exist: the commands of
 * that name in a group (such as `checkpoint restore` for `restore`), the command whose words it joins
 * (`checkpoint-restore`), the equivalent of another tool's word, the commands that begin with the word, and the command
 * with the most similar spelling.
 */
export function suggestCommands(program: Command, word: string): readonly string[] {
  const named = program.commands.flatMap((group) =>
    group.commands
      // A group by itself is never a useful suggestion.
      .filter((command) => command.name() === word && command.commands.length === 0)
      .map(() => `${group.name()} ${word}`),
  );
  if (named.length > 0) return named;
  const [joined, ...rest] = word.split(/[-:_/.]/);
  const group = program.commands.find((command) => command.name() === joined);
  const inner = group?.commands.find((command) => command.name() === rest.join("-"));
  if (group !== undefined && inner !== undefined) return [`${group.name()} ${inner.name()}`];
  const [synonym] = synonymsOf(word);
  if (synonym !== undefined) return [synonym];
  const names = program.commands.map((command) => command.name());
  const begun = names.filter((name) => word.length > 1 && name.startsWith(word));
  if (begun.length > 0) return begun;
  const near = nearestName(word, names);
  return near === undefined ? [] : [near];
}

/** The commands that an unknown word after a group's name most likely means. The group's own come first. */
export function suggestInGroup(program: Command, group: Command, word: string): readonly string[] {
  const prefix = `${group.name()} `;
  const own = synonymsOf(word).find((command) => command.startsWith(prefix));
  if (own !== undefined) return [own];
  const near = nearestName(
    word,
    group.commands.map((command) => command.name()),
  );
  if (near !== undefined) return [prefix + near];
  return program.commands.some((command) => command.name() === word)
    ? [word]
    : suggestCommands(program, word);
}

function synonymsOf(word: string): readonly string[] {
  return lookUp(SYNONYMS, word) ?? [];
}

function lookUp<T>(table: readonly (readonly [words: string, value: T])[], word: string): T | undefined {
  return table.find(([words]) => words.split(" ").includes(word))?.[1];
}
