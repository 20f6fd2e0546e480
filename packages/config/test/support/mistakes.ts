import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A configuration with a mistake, and the problem that is reported. */
export interface Mistake {
  readonly title: string;
  readonly input: { readonly edn: string } | { readonly json: string };
  readonly told: string;
}

/** All kinds of mistakes that users make. */
export const MISTAKES = mistakesOf("mistakes.txt");

/**
 * The configurations in the documentation of XTDB 1.x, each shape once (most appear three times, as JSON, Clojure and
 * EDN), with the problems that are reported for them. There are none if they start a node unchanged.
 */
export const XTDB_EXAMPLES = mistakesOf("xtdb-examples.txt");

/**
 * Reads a file of fixtures. Each fixture has a title, the source as `-e` or `-j` receives it (additional lines are
 * indented by three), and everything that is reported.
 */
function mistakesOf(file: string): readonly Mistake[] {
  const text = readFileSync(join(import.meta.dirname, "..", "fixtures", file), "utf8");
  return text.split(/^# /m).slice(1).map(mistakeOf);
}

function mistakeOf(block: string): Mistake {
  const [title = "", first = "", ...rest] = block.trimEnd().split("\n");
  const end = rest.findIndex((line) => !line.startsWith("   "));
  const source = [first.slice(3), ...rest.slice(0, end).map((line) => line.slice(3))].join("\n");
  const text = source.replaceAll("<TAB>", "\t");
  return {
    title,
    input: first.startsWith("-e") ? { edn: text } : { json: text },
    told: rest.slice(end).join("\n"),
  };
}
