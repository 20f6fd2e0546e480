import type { Command } from "commander";
import { type AddCommand, command } from "../options/command.ts";
import { bashCompletion } from "./bash-completion.ts";
import { completionWords } from "./completion-words.ts";
import { fishCompletion } from "./fish-completion.ts";
import { zshCompletion } from "./zsh-completion.ts";

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
        for (const add of await loadAll()) add(program, terminal);
        const script = SHELLS[shell as keyof typeof SHELLS](completionWords(program));
        await run.answer({ shell, script }, script);
      },
    });
    add(parent, terminal);
  };
}
