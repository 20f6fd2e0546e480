import { anyCommand, type CommandWords, quoted } from "./completion-words.ts";

/** Returns a script for fish. Where it offers no words, fish completes the names of files. */
export function fishCompletion(commands: readonly CommandWords[]): string {
  return `# Completion of cairn for fish
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
${commands.flatMap(lines).join("\n")}`;
}

function lines({ path, words, options }: CommandWords): string[] {
  const head = `complete -c cairn -n ${quoted(`__cairn_at "${path}"`)}`;
  return [
    ...words.map(({ name, description }) => `${head} -f -a ${name}${described(description)}`),
    ...options.map(({ names, description, takesValue, values }) => {
      const flags = names.map((name) =>
        name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      const value = values.length > 0 ? ` -x -a ${quoted(values.join(" "))}` : takesValue ? " -r" : "";
      return `${head} ${flags.join(" ")}${value}${described(description)}`;
    }),
  ];
}

function described(description: string): string {
  return description === "" ? "" : ` -d ${quoted(description)}`;
}
