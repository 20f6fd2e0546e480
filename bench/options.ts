import { parseArgs } from "node:util";

/** What `pnpm bench` was asked for. */
export interface BenchOptions {
  /** Names of rows; all when empty. */
  readonly only: readonly string[];
  readonly rounds: number;
  readonly size: number;
  readonly json: string | undefined;
  readonly profile: string | undefined;
}

/** How to use the command. */
export const USAGE = `pnpm bench [--only ROW]... [--rounds 3] [--size 1000000] [--json FILE] [--profile DIR]`;

/** Reads the command line; throws a TypeError with a sentence when it is not as {@link USAGE} says. */
export function readOptions(args: readonly string[], rows: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    options: {
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string", default: "3" },
      size: { type: "string", default: "1000000" },
      json: { type: "string" },
      profile: { type: "string" },
    },
  });
  const unknown = values.only.find((name) => !rows.includes(name));
  if (unknown !== undefined) throw new TypeError(`There is no row ${unknown}; there are ${rows.join(", ")}.`);
  return {
    only: values.only,
    rounds: positive("--rounds", values.rounds),
    size: positive("--size", values.size.replaceAll(/[,_]/g, "")),
    json: values.json,
    profile: values.profile,
  };
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new TypeError(`${option} takes a whole number above 0, not ${text}.`);
}
