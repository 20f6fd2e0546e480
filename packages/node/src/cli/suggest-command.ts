import type { Command } from "commander";
import { nearestName } from "../text/nearest-name.ts";

/** What other tools call something that is here under another name, by the words that they use. */
export const MEANT: readonly (readonly [words: string, commands: readonly string[]])[] = [
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
  ["export dump", ["list --all --transactions", "db keys"]],
  ["import ingest bulk", ["load"]],
  ["tail follow subscribe stream", ["watch"]],
  ["versions log", ["history", "db history"]],
  ["version", ["--version"]],
  ["cp checkpoints", ["checkpoint list"]],
];

/** What no command does. */
const OTHERWISE: Readonly<Record<string, string>> = {
  stop: "A node stops at Ctrl-C, or when its process is sent SIGTERM.",
};
for (const word of ["shutdown", "kill", "down", "quit"])
  Object.assign(OTHERWISE, { [word]: OTHERWISE["stop"] });

/** What is done instead of a command that there is not; undefined where there may be one. */
export function insteadOf(word: string): string | undefined {
  return Object.hasOwn(OTHERWISE, word) ? OTHERWISE[word] : undefined;
}

/**
 * The commands that a word which is none most likely means: those of a group by that name (`restore`: `checkpoint restore`), what other
 * tools call so, those that begin so, else the one that is spelt nearly so.
 */
export function suggestCommands(program: Command, word: string): readonly string[] {
  const named = program.commands.flatMap((group) =>
    group.commands.filter((command) => command.name() === word).map(() => `${group.name()} ${word}`),
  );
  if (named.length > 0) return named;
  const [joined, ...rest] = word.split(/[-:_/.]/);
  const group = program.commands.find((command) => command.name() === joined);
  const inner = group?.commands.find((command) => command.name() === rest.join("-"));
  if (group !== undefined && inner !== undefined) return [`${group.name()} ${inner.name()}`];
  const [meant] = meantBy(word);
  if (meant !== undefined) return [meant];
  const names = program.commands.map((command) => command.name());
  const begun = names.filter((name) => word.length > 1 && name.startsWith(word));
  if (begun.length > 0) return begun;
  const near = nearestName(word, names);
  return near === undefined ? [] : [near];
}

/** The same for a word behind the name of a group; what that group does goes before all else. */
export function suggestInGroup(program: Command, group: Command, word: string): readonly string[] {
  const own = `${group.name()} `;
  const here = meantBy(word).find((command) => command.startsWith(own));
  if (here !== undefined) return [here];
  const near = nearestName(
    word,
    group.commands.map((command) => command.name()),
  );
  if (near !== undefined) return [own + near];
  return program.commands.some((command) => command.name() === word)
    ? [word]
    : suggestCommands(program, word);
}

function meantBy(word: string): readonly string[] {
  return MEANT.find(([words]) => words.split(" ").includes(word))?.[1] ?? [];
}
