import type { Command } from "commander";
import { type AddCommand, command } from "../options/command.ts";

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** Returns a function that adds `cairn completion`, which completes all commands that `loadAll` returns. */
export function completionOf(loadAll: () => Promise<readonly AddCommand[]>): AddCommand {
  return (parent, terminal) => {
    const add = command({
      syntax: "completion <shell>",
      description: "Print a script with which a shell completes commands and options",
      examples: [
        "source <(cairn completion bash)                                 # in ~/.bashrc",
        "source <(cairn completion zsh)                                  # in ~/.zshrc, after compinit",
        "cairn completion fish > ~/.config/fish/completions/cairn.fish",
      ],
      options: {},
      choices: Object.keys(SHELLS),
      async act(run, shell) {
        const program: Command = parent.createCommand("cairn").version("").helpCommand(false);
        for (const addOne of await loadAll()) addOne(program, terminal);
        const script = SHELLS[shell as keyof typeof SHELLS](completionWords(program));
        await run.answer({ shell, script }, script);
      },
    });
    add(parent, terminal);
  };
}

/** The command with which a script asks the node for its buckets, whose names have no character to be escaped. */
const LIST_BUCKETS = String.raw`cairn buckets --json 2> /dev/null | sed -n 's/^{"name":"\([^"]*\)".*/\1/p'`;

function offer(words: Words): string {
  const listed = words === "buckets" ? `$(${LIST_BUCKETS})` : words.map(({ name }) => name).join(" ");
  return `words="${listed}" ;;`;
}

/** Returns a script for bash. Where it offers no words, bash completes the names of files. */
function bashCompletion(commands: readonly CommandWords[]): string {
  const values = commands.flatMap(({ path, options }) =>
    options
      .filter(({ takesValue }) => takesValue)
      .map(
        ({ names, values: of }) => `    ${names.map((name) => `${path}:${name}`).join("|")}) ${offer(of)}`,
      ),
  );
  const words = commands.flatMap(({ path, words: after, options }) => {
    // Only the first argument of a command is a bucket.
    const isNext = after === "buckets" ? `[[ "$before" == ${path.split("/").at(-1)} ]] && ` : "";
    return [
      `        ${path}:-*) words="${options.flatMap(({ names }) => names).join(" ")}" ;;`,
      ...(after.length === 0 ? [] : [`        ${path}:*) ${isNext}${offer(after)}`]),
    ];
  });
  return `# Completion of cairn
_cairn() {
  local command="" words="" i
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD - 1]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command/\${COMP_WORDS[i]}" in
      ${anyCommand(commands)}) command="$command/\${COMP_WORDS[i]}" ;;
    esac
  done
  case "$command:$before" in
${values.join("\n")}
    *)
      case "$command:$word" in
${words.join("\n")}
      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _cairn cairn`;
}

function zshCompletion(commands: readonly CommandWords[]): string {
  return `autoload -U +X bashcompinit && bashcompinit\n${bashCompletion(commands)}`;
}

/** Returns a script for fish. Where it offers no words, fish completes the names of files. */
function fishCompletion(commands: readonly CommandWords[]): string {
  const fishBuckets = quoted("(__cairn_buckets)");
  const lines = commands.flatMap(({ path, words, options }) => {
    const isHere = `__cairn_at "${path}"`;
    const head = `complete -c cairn -n ${quoted(isHere)}`;
    const isNext = `${isHere}; and test (commandline -opc)[-1] = ${path.split("/").at(-1)}`;
    const described = ({ description }: { readonly description: string }): string =>
      description === "" ? "" : ` -d ${quoted(description)}`;
    return [
      ...(words === "buckets"
        ? [`complete -c cairn -n ${quoted(isNext)} -f -a ${fishBuckets}`]
        : words.map((word) => `${head} -f -a ${word.name}${described(word)}`)),
      ...options.map((option) => {
        const flags = option.names.map((name) => name.replace(/^--/, "-l ").replace(/^-(?=\w$)/, "-s "));
        const names = option.values === "buckets" ? "" : option.values.map(({ name }) => name).join(" ");
        const values = option.values === "buckets" ? fishBuckets : quoted(names);
        const value = values !== "''" ? ` -x -a ${values}` : option.takesValue ? " -r" : "";
        return `${head} ${flags.join(" ")}${value}${described(option)}`;
      }),
    ];
  });
  return `# Completion of cairn for fish
function __cairn_buckets
  ${LIST_BUCKETS}
end
function __cairn_at
  set -l command ''
  for word in (commandline -opc)[2..]
    switch "$command/$word"
      case ${anyCommand(commands).split("|").map(quoted).join(" ")}
        set command "$command/$word"
    end
  end
  test "$command" = "$argv[1]"
end
${lines.join("\n")}`;
}

/** Returns a string in single quotes, which the shells take literally except for the single quote itself. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Returns the pattern of a `case` that matches the path of every command. */
function anyCommand(commands: readonly CommandWords[]): string {
  return commands.flatMap(({ path }) => (path === "" ? [] : [path])).join("|");
}

interface Word {
  readonly name: string;
  readonly description: string;
}

/** What to offer: words, or the buckets of the node that the configuration or the environment names. */
type Words = readonly Word[] | "buckets";

interface CommandWords {
  /** The command's words, each after a slash: empty for `cairn`, `/db/keys` for `cairn db keys`. */
  readonly path: string;
  /** The commands of a group, or the values of a command's first argument; empty if they cannot be listed. */
  readonly words: Words;
  /** Each has one or two names, such as `-f` and `--file`, and the values that it accepts, if they can be listed. */
  readonly options: readonly {
    readonly names: readonly string[];
    readonly description: string;
    readonly takesValue: boolean;
    readonly values: Words;
  }[];
}

/** Returns what can follow each command, from the definitions from which the help is made. */
function completionWords(parent: Command, path = ""): readonly CommandWords[] {
  const listed = [
    ...parent.commands.map((one) => ({ name: one.name(), description: one.description() })),
    ...parent.registeredArguments.flatMap(({ argChoices = [] }) => argChoices.map(plain)),
  ];
  const options = parent
    .createHelp()
    .visibleOptions(parent)
    .map(({ short, long, flags, description, required, optional, argChoices = [] }) => ({
      names: [short, long].filter((name) => name !== undefined),
      description,
      takesValue: required || optional,
      values: flags.endsWith("<bucket>") ? ("buckets" as const) : argChoices.map(plain),
    }));
  const words = parent.registeredArguments[0]?.name() === "bucket" ? "buckets" : listed;
  const inner = parent.commands.flatMap((one) => completionWords(one, `${path}/${one.name()}`));
  return [{ path, words, options }, ...inner];
}

function plain(name: string): Word {
  return { name, description: "" };
}
