import { type Command, Option } from "commander";
import { parseDuration } from "@cairn/text";
import { UsageError } from "../terminal/report-error.ts";

/** An option of a command. Its flag is the name under which its value is found, such as `--as-of` for `asOf`. */
export interface OptionSpec<T> {
  readonly description: string;
  /** The placeholder of the value, such as `<count>`. An option without one is true if it is given. */
  readonly value?: string;
  readonly short?: string;
  /** If true, the flag begins with `--no-`, and its value is false if it is given. */
  readonly negated?: boolean;
  readonly required?: boolean;
  readonly fallback?: T | undefined;
  readonly choices?: readonly string[];
  /** The names of options that cannot be given together with this one. */
  readonly conflicts?: readonly string[];
  /** Options that have these values if this one is given. */
  readonly implies?: Readonly<Record<string, true>>;
  parse?(given: string, flag: string, before: T | undefined): T;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec<unknown>>>;

export type OptionValues<O extends OptionSpecs> = {
  readonly [Name in keyof O]: O[Name] extends OptionSpec<infer T> ? T : never;
};

export function flag(description: string): OptionSpec<boolean> {
  return { description };
}

/** An option that begins with `--no-`, and is true unless it is given. */
export function negatedFlag(description: string): OptionSpec<boolean> {
  return { description, negated: true };
}

export function textValue<D extends string | undefined>(
  value: string,
  description: string,
  fallback?: D,
): OptionSpec<string | D> {
  return { value, description, fallback };
}

export function repeatedValue(value: string, description: string): OptionSpec<readonly string[] | undefined> {
  return { value, description, parse: (given, _flag, before = []) => [...before, given] };
}

/** An option whose value is what `parse` makes of the text. It throws an error with the name of the flag. */
export function parsedValue<T>(
  value: string,
  description: string,
  parse: (given: string, flag: string) => T,
): OptionSpec<T | undefined> {
  return { value, description, parse };
}

/** An option whose value is a whole number of at least 1. */
export function countValue<D extends number | undefined>(
  value: string,
  description: string,
  fallback?: D,
): OptionSpec<number | D> {
  return { value, description, fallback, parse: (given, name) => wholeNumber(given, name, 1) };
}

/** An option whose value is a duration of at least `least` milliseconds. */
export function durationValue(description: string, least: number): OptionSpec<number | undefined> {
  return parsedValue("<duration>", description, (given, name) => {
    const parsed = parseDuration(given, { bare: true });
    if ("ms" in parsed && parsed.ms >= least) return parsed.ms;
    const [kind, hint] = "ms" in parsed ? ["a duration above zero"] : ["a duration", parsed.hint];
    throw new UsageError(
      `${name} must be ${kind}, not ${JSON.stringify(given)}.`,
      hint ?? "Write the duration in ISO 8601 format, such as PT30S, PT5M or P7D.",
    );
  });
}

export const OUTPUT: OptionSpec<string> = {
  value: "<directory>",
  short: "o",
  description: "the target, which must be empty or not exist",
  required: true,
};

export function addOptions(command: Command, specs: OptionSpecs): Command {
  for (const [name, spec] of Object.entries(specs)) {
    const { description, value, short, negated, required, fallback, choices, parse } = spec;
    const words = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const long = `--${negated === true ? "no-" : ""}${words}`;
    const names = short === undefined ? long : `-${short}, ${long}`;
    const option = new Option(value === undefined ? names : `${names} ${value}`, description);
    if (fallback !== undefined) option.default(fallback);
    if (choices !== undefined) option.choices(choices);
    if (parse !== undefined) option.argParser((given: string, before: unknown) => parse(given, long, before));
    option.conflicts([...(spec.conflicts ?? [])]).implies({ ...spec.implies });
    command.addOption(option.makeOptionMandatory(required === true));
  }
  return command;
}

/** Parses an integer of at least `least`; `name` is that of the option or the argument. */
export function wholeNumber(given: string, name: string, least: number): number {
  const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new UsageError(`${name} must be a whole number of at least ${least}, not ${given}.`);
}
