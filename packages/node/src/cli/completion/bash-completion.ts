import { anyCommand, type CommandWords } from "./completion-words.ts";

/** Returns a script for bash. Where it offers no words, bash completes the names of files. */
export function bashCompletion(commands: readonly CommandWords[]): string {
  return `# Completion of cairn for bash
_cairn() {
  local command="" words="" i
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD - 1]}"
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$command/\${COMP_WORDS[i]}" in
      ${anyCommand(commands)}) command="$command/\${COMP_WORDS[i]}" ;;
    esac
  done
  case "$command:$before" in
${commands.flatMap(valueCases).join("\n")}
    *)
      case "$command:$word" in
${commands.flatMap(wordCases).join("\n")}
      esac
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _cairn cairn`;
}

function valueCases({ path, options }: CommandWords): string[] {
  return options
    .filter(({ takesValue }) => takesValue)
    .map(({ names, values }) => {
      const pattern = names.map((name) => `${path}:${name}`).join("|");
      return `    ${pattern}) words="${values.join(" ")}" ;;`;
    });
}

function wordCases({ path, words, options }: CommandWords): string[] {
  const names = options.flatMap((option) => option.names).join(" ");
  return [
    `        ${path}:-*) words="${names}" ;;`,
    ...(words.length === 0
      ? []
      : [`        ${path}:*) words="${words.map(({ name }) => name).join(" ")}" ;;`]),
  ];
}
