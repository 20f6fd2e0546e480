import { Argument, type Command } from "commander";
import { type AddCommand, describeCommand, type OutputOptions } from "../options/command-options.ts";
import { writeJson, writeLine } from "../terminal/terminal.ts";
import { bashCompletion } from "./bash-completion.ts";
import { completionWords } from "./completion-words.ts";
import { fishCompletion } from "./fish-completion.ts";
import { zshCompletion } from "./zsh-completion.ts";

const SHELLS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

/** Returns a function that adds `cairn completion`, which completes all commands that `loadAll` returns. */
export function completionOf(loadAll: () => Promise<readonly AddCommand[]>): AddCommand {
  return (parent, terminal) => {
    describeCommand(
      parent.command("completion"),
      "Print a script with which a shell completes commands and options",
      [
        "source <(cairn completion bash)                                 # in ~/.bashrc",
        "source <(cairn completion zsh)                                  # in ~/.zshrc, after compinit",
        "cairn completion fish > ~/.config/fish/completions/cairn.fish",
      ],
    )
      .addArgument(new Argument("<shell>", "the shell").choices(Object.keys(SHELLS)))
      .action(async (shell: keyof typeof SHELLS, { json }: OutputOptions) => {
        const program: Command = parent.createCommand("cairn").version("").helpCommand(false);
        for (const add of await loadAll()) add(program, terminal);
        const script = SHELLS[shell](completionWords(program));
        if (json === true) return await writeJson(terminal.stdout, { shell, script });
        return await writeLine(terminal.stdout, script);
      });
  };
}
