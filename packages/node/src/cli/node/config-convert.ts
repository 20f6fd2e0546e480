import { extname } from "node:path";
import { Option } from "commander";
import { convertConfig, notesOf, writeConverted } from "../../config/convert/convert-config.ts";
import { type AddCommand, describeCommand, type OutputOptions } from "../options/command-options.ts";
import { printable, tell, writeJson, writeLine } from "../terminal/terminal.ts";

interface ConvertOptions extends OutputOptions {
  readonly to?: "edn" | "json";
}

export const addConfigConvert: AddCommand = (parent, terminal) => {
  describeCommand(
    parent.command("convert <file>"),
    "Convert a configuration of Crux or XTDB 1.x and print the result without changing any file",
    ["cairn config convert crux.edn > cairn.edn", "cairn config convert xtdb.json --to edn > cairn.edn"],
  )
    .addOption(
      new Option("--to <language>", "the language of the result (default: the language of the file)").choices(
        ["edn", "json"],
      ),
    )
    .action(async (file: string, { json = false, to }: ConvertOptions) => {
      const language = to ?? (extname(file).toLowerCase() === ".json" ? "json" : "edn");
      const converted = await convertConfig(file, terminal.cwd, language);
      const notes = notesOf(converted);
      const text = writeConverted(converted, language);
      if (json) return writeJson(terminal.stdout, { language, text, notes });
      await writeLine(terminal.stdout, text);
      if (language === "edn") return;
      // The notes are written to standard error, because JSON does not allow comments.
      for (const { place, path, note } of notes) {
        const where = path.length === 0 ? "" : `${place} ${path.join(" > ")}: `.trimStart();
        await tell(terminal, printable(`note: ${where}${note}`));
      }
    });
};
