import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A configuration with a mistake, and what is said about it. */
export interface Mistake {
  readonly title: string;
  readonly input: { readonly edn: string } | { readonly json: string };
  readonly told: string;
}

/**
 * The mistakes of fixtures/mistakes.txt: a title, the source as `-e` or `-j` gets it (further lines indented by three), and all that
 * is said about it.
 */
export const MISTAKES: readonly Mistake[] = readFileSync(
  join(import.meta.dirname, "..", "fixtures", "mistakes.txt"),
  "utf8",
)
  .split(/^# /m)
  .slice(1)
  .map((block) => {
    const [title = "", first = "", ...rest] = block.trimEnd().split("\n");
    const end = rest.findIndex((line) => !line.startsWith("   "));
    const source = [first.slice(3), ...rest.slice(0, end).map((line) => line.slice(3))].join("\n");
    const text = source.replaceAll("<TAB>", "\t");
    return {
      title,
      input: first.startsWith("-e") ? { edn: text } : { json: text },
      told: rest.slice(end).join("\n"),
    };
  });
