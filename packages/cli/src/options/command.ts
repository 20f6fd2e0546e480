import type { CairnError } from "@cairn/kv";
import { hostname } from "node:os";
import { resolve } from "node:path";
import { completeCommands, givenOptions, namedCommand, shellWord, withCommands } from "@cairn/text";
import type { Command } from "commander";
import { type Column, formatTable } from "../terminal/columns.ts";
import { ENDING_SIGNALS, InterruptedError } from "../terminal/interrupt.ts";
import { type FormatAmount, type ProgressDisplay, showProgress } from "../terminal/progress-display.ts";
import { printable, tell, type Terminal, writeJson, writeJsonLines, write } from "../terminal/terminal.ts";
import { addOptions, type OptionSpecs, type OptionValues } from "./option-specs.ts";

export type AddCommand = (parent: Command, terminal: Terminal) => void;

/** The arguments of a command whose syntax is a string such as `get <bucket> <key>`. */
type Arguments<S extends string> = S extends `${string} ${infer Rest}` ? ArgumentList<Rest> : [];
type ArgumentList<S extends string> = S extends `${infer First} ${infer Rest}`
  ? [ArgumentOf<First>, ...ArgumentList<Rest>]
  : [ArgumentOf<S>];
type ArgumentOf<S extends string> = S extends `${string}...${string}`
  ? readonly string[]
  : S extends `<${string}`
    ? string
    : string | undefined;

export interface CommandSpec<S extends string, O extends OptionSpecs> {
  /** The name of the command and its arguments. */
  readonly syntax: S;
  readonly description: string;
  readonly examples: readonly string[];
  /** The options besides --json and --debug, in the order of the help. */
  readonly options: O;
  /** The values that the last argument may have. */
  readonly choices?: readonly string[];
  readonly usage?: string;
  /** A paragraph below the examples of the help. */
  readonly note?: string;
  act(run: CommandRun<OptionValues<O>>, ...given: Arguments<S>): Promise<void>;
}

export function command<const S extends string, O extends OptionSpecs>(spec: CommandSpec<S, O>): AddCommand {
  const { syntax, description, examples, options, choices, usage, note } = spec;
  const flags = Object.entries(options).filter(([, { value, negated }]) => value === undefined && !negated);
  const absent = Object.fromEntries(flags.map(([name]) => [name, false]));
  return (parent, terminal) => {
    const made = parent
      .command(syntax)
      .description(description)
      .option("--json", "print JSON, for programs")
      .option("--debug", "print stack traces of errors")
      .addHelpText("after", `\nExample:\n${examples.map((example) => `  $ ${example}`).join("\n")}`);
    const argument = made.registeredArguments.at(-1);
    if (choices !== undefined && argument !== undefined)
      argument.choices(choices).description = `the ${argument.name()}`;
    if (usage !== undefined) made.usage(usage);
    if (note !== undefined) made.addHelpText("after", `\n${note}`);
    addOptions(made, options).action(async (...given: unknown[]) => {
      // Commander leaves out flags that are not given.
      const words: string[] = [];
      for (let at: Command | null = made; at !== null; at = at.parent) words.unshift(at.name());
      const run = new CommandRun(terminal, { ...absent, ...made.opts<OptionValues<O>>() }, words.join(" "));
      try {
        // After the arguments, commander passes the options and the command.
        await spec.act(run, ...(given.slice(0, -2) as Arguments<S>));
      } catch (error) {
        throw run.completed(run.explained(error));
      } finally {
        await run.end();
      }
    });
  };
}

/** `note` is a paragraph below the help of each command. */
export function commandGroup(
  name: string,
  description: string,
  commands: readonly AddCommand[],
  note?: string,
): AddCommand {
  return (parent, terminal) => {
    const group = parent.command(name).description(description).helpCommand(false);
    for (const add of commands) add(group, terminal);
    if (note !== undefined) for (const one of group.commands) one.addHelpText("after", `\n${note}`);
  };
}

/** The options that say where a command works, of which not every command has all. */
type Placed = Partial<Record<"file" | "edn" | "configJson", string>> & {
  readonly url?: string | readonly string[];
};

/** One run of a command: its options, its terminal, and what must be closed when its work is done. */
export class CommandRun<V = object> {
  readonly options: V & { readonly json?: boolean };
  readonly terminal: Terminal;
  /** What stands for this command where a node names itself, such as in a store. */
  readonly node: string;
  readonly #cleanups: (() => unknown)[] = [];
  readonly #passedOver = new Set<string>();
  #signal = new AbortController().signal;
  /** Returns the error to report for one that ends the command. */
  explained: (error: unknown) => unknown = (error) => error;
  /** Returns the command line that runs a command from any folder, where this one works. */
  commandLine: (line: string) => string = (line) => this.#withOptions(line);

  /** `words` are those of the command, such as `cairn db keys`. */
  constructor(terminal: Terminal, options: CommandRun<V>["options"], words: string) {
    this.terminal = terminal;
    this.options = options;
    this.node = `${words} on ${hostname()}`;
  }

  /** Makes the `cairn db` commands of hints inspect `place`, which was given to this one. */
  completeDbCommands(place: string): void {
    const { commandLine } = this;
    this.commandLine = (line) =>
      `${commandLine(line)}${line.startsWith("db ") ? ` ${shellWord(place)}` : ""}`;
  }

  get json(): boolean {
    return this.options.json === true;
  }

  /** Aborted with an `InterruptedError` by the first signal after a call of {@link interruptible}. */
  get signal(): AbortSignal {
    return this.#signal;
  }

  /**
   * Makes signals end the work cleanly from now on. `outcome` is a clause such as "nothing was verified". When the work is
   * done, a signal ends the process again.
   */
  interruptible(outcome: string, hint?: string): AbortSignal {
    const stop = new AbortController();
    const abort = (by: NodeJS.Signals): void => stop.abort(new InterruptedError(by, outcome, hint));
    this.defer(this.terminal.onSignal(ENDING_SIGNALS, abort));
    this.#signal = stop.signal;
    return stop.signal;
  }

  /** Throws the error of a signal that ended the work early, with what became of the work and how to go on. */
  throwIfInterrupted(outcome: string, hint: string): void {
    const reason: unknown = this.#signal.reason;
    if (reason instanceof InterruptedError) throw new InterruptedError(reason.by, outcome, hint);
  }

  progress(verb: string, total: number | undefined, format?: FormatAmount): ProgressDisplay {
    const display = showProgress(this.terminal.stderr, verb, total, Date.now, format);
    this.defer(() => display.stop());
    return display;
  }

  /** Like {@link progress}, for work whose size becomes known when it has begun. */
  lateProgress(verb: string, format?: FormatAmount) {
    let display: ProgressDisplay | undefined;
    return {
      update: (done: number, total: number, note: string): void => {
        display ??= this.progress(verb, total, format);
        display.update(done, note);
      },
      stop: () => display?.stop(),
    };
  }

  /** Calls `cleanup` when the work is done. The cleanup that was added last is called first. */
  defer(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  /** Ends the work: closes what it used, and lets signals end the process again. */
  async end(): Promise<void> {
    const cleanup = this.#cleanups.pop();
    if (cleanup === undefined) return;
    try {
      await cleanup();
    } finally {
      await this.end();
    }
  }

  /** Ends the work, and writes its result as JSON or as text. */
  async answer(value: unknown, line: string): Promise<void> {
    await this.end();
    await (this.json ? writeJson(this.terminal.stdout, value) : this.line(line));
  }

  /** Like {@link answer}, for a result without documents: completes the commands in its hints, and in the text. */
  async report(value: object, text: string): Promise<void> {
    await this.answer(withCommands(value, this.commandLine), completeCommands(text, this.commandLine));
  }

  /** Ends the work, and writes its results as lines of JSON or as a table. */
  async list<T>(items: readonly T[], columns: readonly Column<T>[]): Promise<void> {
    await this.end();
    if (this.json) return await writeJsonLines(this.terminal.stdout, items);
    if (items.length === 0) return await this.tell("None found.");
    return await this.line(this.table(columns, items));
  }

  /** Writes a page of a list. Only the first page of a table has a heading. */
  async page(items: readonly unknown[], table: string, isFirst: boolean): Promise<void> {
    if (this.json) return await writeJsonLines(this.terminal.stdout, items);
    if (items.length > 0) await this.line(isFirst ? table : table.slice(table.indexOf("\n") + 1));
  }

  table<T>(columns: readonly Column<T>[], items: readonly T[]): string {
    return formatTable(columns, items, this.terminal.stdout);
  }

  async line(line: string): Promise<void> {
    await write(this.terminal.stdout, `${line}\n`);
  }

  /** Writes a sentence to standard error that is not about the result itself. */
  notice(sentence: string): void {
    const completed = completeCommands(sentence, this.commandLine);
    this.terminal.stderr.write(`notice: ${printable(completed)}\n`);
  }

  /** Reports, once for each reason, that something cannot be used and is passed over. */
  passOver(what: string, { code, message }: CairnError): void {
    const sentence = `${what} cannot be used, and is passed over: ${code}: ${message}`;
    if (!this.#passedOver.has(sentence)) this.notice(sentence);
    this.#passedOver.add(sentence);
  }

  /** Completes the commands in the hint of an error. */
  completed<E>(error: E): E {
    if (!(error instanceof Error) || !("hint" in error) || typeof error.hint !== "string") return error;
    // The class of the error and its other members must stay.
    return Object.assign(error, { hint: completeCommands(error.hint, this.commandLine) });
  }

  /** Adds the options with which this command was told where it works. The environment stays that of the shell. */
  #withOptions(line: string): string {
    const named = namedCommand(line);
    if (named === undefined) return `cairn ${line}`;
    const { url, file, edn, configJson } = this.options as Placed;
    const given = givenOptions({
      "-f": file === undefined ? undefined : resolve(this.terminal.cwd, file),
      "-e": edn,
      "-j": configJson,
      "--url": named.asksNode ? [url ?? []].flat()[0] : undefined,
    });
    return `cairn ${named.words}${given}${named.rest}`;
  }

  /** Writes a line to standard error, with its commands completed. */
  async tell(line: string): Promise<void> {
    await tell(this.terminal, completeCommands(line, this.commandLine));
  }
}
