import { parseArgs } from "node:util";

/** The options of `pnpm bench`. */
export interface BenchOptions {
  /** The names of the rows to run. If there are none, all rows are run. */
  readonly only: readonly string[];
  readonly rounds: number;
  readonly size: number;
  /** The file for a picture of how durations grow with the log. If it is given, no rows are run. */
  readonly grow: string | undefined;
  /** The file for a picture of the first reads of joining nodes. If it is given, no rows are run. */
  readonly firstReads: string | undefined;
  readonly json: string | undefined;
  readonly profile: string | undefined;
}

/** The command's usage line. */
export const USAGE = `pnpm bench [--only ROW]... [--rounds 3] [--size 1000000] [--json FILE] [--profile DIR]
       pnpm bench --grow FILE.svg [--size 1000000]
       pnpm bench --first-reads FILE.svg [--size 1000000] [--rounds 3]`;

/** Reads the command line. Throws a TypeError with a message for the user if it is invalid. */
export function readOptions(args: readonly string[], rows: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    options: {
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string", default: "3" },
      size: { type: "string", default: "1000000" },
      grow: { type: "string" },
      "first-reads": { type: "string" },
      json: { type: "string" },
      profile: { type: "string" },
    },
  });
  const unknown = values.only.find((name) => !rows.includes(name));
  if (unknown !== undefined)
    throw new TypeError(`There is no row "${unknown}". Choose one of ${rows.join(", ")}.`);
  return {
    only: values.only,
    rounds: positive("--rounds", values.rounds),
    size: positive("--size", values.size.replaceAll(/[,_]/g, "")),
    grow: values.grow,
    firstReads: values["first-reads"],
    json: values.json,
    profile: values.profile,
  };
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new TypeError(`${option} takes a whole number above 0, not ${text}.`);
}
