import {
  CairnError,
  systemErrorCode,
  systemErrorOf,
  systemRefused,
  errorMessage,
  type ErrorCode,
  withoutUser,
} from "@cairn/kv";
import { CommanderError } from "commander";
import type { policyProblems } from "@cairn/engine";
import type { ConfigError } from "@cairn/config";
import { CommandError } from "./interrupt.ts";
import { RUN_AGAIN } from "./run-again.ts";
import { printable, type Terminal, tell } from "./terminal.ts";

/** Exit codes other than 0. */
const EXIT = { no: 1, usage: 2, unavailable: 3 } as const;

export const HELP = "Run with --help to list commands and options.";

/** The error for incorrect usage that the command itself detects. */
export class UsageError extends CommandError {
  /** The problems of a file, each of which is printed on a separate line. */
  readonly problems: ReturnType<typeof policyProblems>;

  constructor(message: string, hint = HELP, problems: ReturnType<typeof policyProblems> = []) {
    super("USAGE", withoutUser(message), hint, EXIT.usage);
    this.problems = problems;
  }
}

/** The error for problems that a command was asked to look for, which leads to exit code 1, whatever its code. */
export class ProblemsFoundError extends CairnError {}

/** Codes of incorrect usage, and of negative answers. All others mean that a service, a store or a disk failed. */
const USAGE_CODES: readonly ErrorCode[] = [
  "CONFIG_INVALID",
  "CONFIG_SYNTAX",
  "CONFIG_NOT_FOUND",
  "CONFIG_MODULE",
  "REQUEST_INVALID",
  "METHOD_NOT_ALLOWED",
  "TX_INVALID",
  "TX_TOO_LARGE",
  "QUERY_LIMIT",
  "UNAUTHORIZED",
  "FORBIDDEN",
];
const NO_CODES: readonly ErrorCode[] = [
  "NOT_FOUND",
  "CONFLICT",
  "WATCH_COMPACTED",
  "OUTCOME_REMOVED",
  "CHECKPOINT_NOT_FOUND",
  "CHECKPOINT_RUNNING",
  "CHECKPOINT_CORRUPT",
  "CHECKPOINT_INCOMPLETE",
  "SEGMENT_CORRUPT",
  "KEY_MISSING",
  "PLAIN_REFUSED",
  "INDEX_CORRUPT",
  "INDEX_VERSION",
  "EXPORT_DAMAGED",
  "IMPORT_INCOMPLETE",
];

function exitCodeOf(error: CairnError): number {
  if (error instanceof ProblemsFoundError || NO_CODES.includes(error.code)) return EXIT.no;
  return USAGE_CODES.includes(error.code) ? EXIT.usage : EXIT.unavailable;
}

/** Prints an error to standard error, as text or as JSON, and returns the exit code. */
export async function reportError(
  error: unknown,
  terminal: Terminal,
  options: { readonly json: boolean; readonly debug: boolean },
): Promise<number> {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  const { code, message, hint, exitCode } = describe(error);
  const fileProblems = error instanceof UsageError ? error.problems : [];
  if (options.json) {
    const problems = isConfigError(error) ? error.problems : fileProblems;
    const body = { code, message, hint: hint ?? null };
    await tell(terminal, JSON.stringify({ error: body, ...(problems.length === 0 ? {} : { problems }) }));
  } else if (isConfigError(error)) {
    const { formatProblems } = await import("@cairn/config");
    await tell(terminal, formatProblems(printableStrings(error.problems)));
  } else {
    // Own messages have no line ends: those in a message come from outside, and could forge a hint.
    await tell(terminal, printable(`${code}: ${message}`));
    for (const one of fileProblems) {
      const { formatPolicyProblem } = await import("@cairn/engine");
      await tell(terminal, `  ${printable(formatPolicyProblem(one))}`);
    }
    if (hint !== undefined) await tell(terminal, printable(`  hint: ${hint}`));
  }
  for (let at: unknown = options.debug ? error : undefined; at instanceof Error; at = at.cause)
    await tell(terminal, at.stack ?? at.message);
  return exitCode;
}

/** Returns a copy of a value in which every string can be printed. */
function printableStrings<T>(value: T): T {
  const copy: unknown = JSON.parse(JSON.stringify(value), (_, one: unknown) =>
    typeof one === "string" ? printable(one) : one,
  );
  return copy as T;
}

/** The class itself is loaded only together with a configuration, so that commands without one start sooner. */
function isConfigError(error: unknown): error is ConfigError {
  return error instanceof CairnError && Object.hasOwn(error, "problems");
}

function describe(error: unknown): Pick<CommandError, "code" | "message" | "hint" | "exitCode"> {
  if (error instanceof CairnError) {
    const { code, message, hint } = error;
    return { code, message, hint, exitCode: exitCodeOf(error) };
  }
  if (error instanceof CommandError) return error;
  if (error instanceof CommanderError) {
    const isIncomplete = error.code === "commander.help";
    const message = isIncomplete
      ? "The command is incomplete."
      : sentence(error.message.replace(/^error: /, ""));
    return { code: "USAGE", message, hint: HELP, exitCode: EXIT.usage };
  }
  // Node treats a file that it may not open for lack of descriptors as one that does not exist.
  if (["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes(systemErrorCode(error) ?? "")) {
    const message = `A file of the program was not found: ${errorMessage(error)}`;
    return { code: "SYSTEM_REFUSED", message, hint: RUN_AGAIN, exitCode: EXIT.unavailable };
  }
  // The operating system reported an error before a node was running, for example about one of the program's own files.
  const system = systemErrorOf(error);
  if (system !== undefined) {
    const refused = describe(systemRefused("The program or its files", system, error));
    return system.meaning === "wait" ? { ...refused, hint: RUN_AGAIN } : refused;
  }
  return {
    code: "INTERNAL",
    message: errorMessage(error),
    hint: "Run with --debug to print the stack trace.",
    exitCode: EXIT.unavailable,
  };
}

/** Turns a message from Commander into one line of sentences. Commander writes its suggestion on a separate line. */
function sentence(text: string): string {
  const [first = "", ...rest] = text.split("\n");
  return [`${first.charAt(0).toUpperCase()}${first.slice(1).replace(/\.$/, "")}.`, ...rest].join(" ");
}
