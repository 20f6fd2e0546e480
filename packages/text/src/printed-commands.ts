/*
 * Hints name commands by their words alone, such as `cairn log orphans`. Where a hint leaves a node or a command, each is
 * completed with the folder, the environment and the options with which it runs as printed. No other code does that.
 */

/** The commands that work on what a configuration names, and those that ask a node; both have the option -f. */
export const CONFIGURED_COMMANDS: Readonly<Record<"alone" | "asking", readonly string[]>> = {
  alone: [
    ...commands("checkpoint ", "prune restore"),
    ...commands("config ", "check print"),
    ...commands("db ", "buckets check digest get history keys stats"),
    ...commands("log ", "create orphans recover status trim"),
    ...commands("log backup ", "list prune verify"),
  ],
  asking: [
    ...commands("", "buckets events evictions export get history list load sql status watch"),
    ...commands("import ", "etcd nats-kv ndjson"),
    ...commands("checkpoint ", "create list show verify"),
    ...commands("log backup ", "status"),
    ...commands("policy ", "apply show"),
    ...commands("queue ", "drain enqueue list show"),
    ...commands("tx ", "delete evict put show submit"),
  ],
};

function commands(group: string, names: string): string[] {
  return names.split(" ").map((name) => group + name);
}

/** Stands for a configuration that was not given as a file, and that may contain secrets. */
export const INLINE = "-j CONFIGURATION";
const INLINE_MEANING =
  "(CONFIGURATION stands for what the node was configured with by its program, or with -e or -j.)";

/** A command as a hint names it, in parts. */
export interface NamedCommand {
  readonly words: string;
  readonly rest: string;
  readonly asksNode: boolean;
}

const WORDS = [...CONFIGURED_COMMANDS.alone, ...CONFIGURED_COMMANDS.asking]
  .toSorted((a, b) => b.length - a.length)
  .join("|");
/** A completed command says where it works, and is left as it is. */
const INCOMPLETE = "(?![^.;:,()]*? (?:-f|-j|-e|--url) )";
const NAMED = new RegExp(`^(${WORDS})(?![\\w-])(.*)$`, "s");
/**
 * Not after a variable or a folder, which have completed it. The full stop of a text that ends with a command is left
 * out: whoever copies the command would get it as a part of a file's name.
 */
const PRINTED = new RegExp(
  `(?<![\\w=/-]|&& |=\\S{1,999} |['"] )cairn ((?:${WORDS})(?![\\w-]))${INCOMPLETE}` +
    "(?:((?: (?:>|--?[a-z][\\w=-]*|[A-Z][A-Z0-9]*))*)\\.(?=\\n|$))?",
  "g",
);

/** A command that reads what is piped into it, with its operand `-`. */
const PIPED = new RegExp(`\\| cairn (${WORDS})${INCOMPLETE}((?: -)?)(?![\\w-])`, "g");

/** Returns the parts of a command that begins with its words; undefined if it is no such command. */
export function namedCommand(command: string): NamedCommand | undefined {
  const [, words, rest = ""] = NAMED.exec(command) ?? [];
  if (words === undefined) return undefined;
  return { words, rest, asksNode: CONFIGURED_COMMANDS.asking.includes(words) };
}

/** Returns a text with each of its commands as `commandLine` prints it. */
export function completeCommands(text: string, commandLine: (command: string) => string): string {
  const completed = text
    .replaceAll(PIPED, (_, words: string, operand: string) => {
      const whole = `${commandLine(words)}${operand}`;
      // What is piped into `cd` would be lost.
      return `| ${whole.startsWith("cd ") ? `(${whole})` : whole}`;
    })
    .replaceAll(PRINTED, (_, words: string, last = "") => `${commandLine(words)}${last}`);
  return completed === text || !completed.includes(INLINE) ? completed : `${completed} ${INLINE_MEANING}`;
}

/** Returns a copy of a value in which the commands of all members `hint` are completed. */
export function withCommands<T>(value: T, commandLine: (command: string) => string): T {
  if (Array.isArray(value)) return value.map((one: unknown) => withCommands(one, commandLine)) as T;
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  const members = Object.entries(value).map(([name, one]): [string, unknown] => [
    name,
    name === "hint" && typeof one === "string"
      ? completeCommands(one, commandLine)
      : withCommands<unknown>(one, commandLine),
  ]);
  return Object.fromEntries(members) as T;
}

/** Returns those options that have a value, as a command line contains them. */
export function givenOptions(options: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(options)
    .map(([option, value]) => (value === undefined ? "" : ` ${option} ${shellWord(value)}`))
    .join("");
}

/** Quotes a word for a shell, if it must be. */
export function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
