import { anyCommand, type CommandWords, quoted, type Word } from "./completion-words.ts";

/** Returns a script for zsh. Where it offers no words, it completes the names of files. */
export function zshCompletion(commands: readonly CommandWords[]): string {
  return `#compdef cairn
# Completion of cairn for zsh
_cairn() {
  local command="" i
  local -a items
  for ((i = 2; i < CURRENT; i++)); do
    case "$command/\${words[i]}" in
      (${anyCommand(commands)}) command="$command/\${words[i]}" ;;
    esac
  done
  case "$command:\${words[CURRENT - 1]}" in
${commands.flatMap(valueCases).join("\n")}
    (*)
      case "$command:\${words[CURRENT]}" in
${commands.flatMap(wordCases).join("\n")}
      esac
      ;;
  esac
  if ((\${#items})); then _describe -o cairn items; else _files; fi
}
if [[ "\${funcstack[1]}" == _cairn ]]; then _cairn "$@"; else compdef _cairn cairn; fi`;
}

function valueCases({ path, options }: CommandWords): string[] {
  return options
    .filter(({ takesValue }) => takesValue)
    .map(({ names, values }) => {
      const pattern = names.map((name) => `${path}:${name}`).join("|");
      return `    (${pattern}) items=(${values.map(quoted).join(" ")}) ;;`;
    });
}

function wordCases({ path, words, options }: CommandWords): string[] {
  const names = options.flatMap((option) =>
    option.names.map((name) => ({ name, description: option.description })),
  );
  return [
    `        (${path}:-*) items=(${items(names)}) ;;`,
    ...(words.length === 0 ? [] : [`        (${path}:*) items=(${items(words)}) ;;`]),
  ];
}

function items(words: readonly Word[]): string {
  return words
    .map(({ name, description }) => quoted(description === "" ? name : `${name}:${description}`))
    .join(" ");
}
