import {
  CairnError,
  systemErrorCode,
  systemErrorOf,
  systemRefused,
  errorMessage,
  type ErrorCode,
} from "@cairn/kv";
import { CommanderError } from "commander";
import { formatPolicyProblem, type PolicyProblem } from "../../policies/policy-problems.ts";
import { ConfigError, convertibleFile, formatProblems } from "../../config/source/problems.ts";
import { InterruptedError } from "./interrupt.ts";
import { printable, printableLines, type Terminal, tell } from "./terminal.ts";

/** Exit codes other than 0. */
const EXIT = { no: 1, usage: 2, unavailable: 3 } as const;

export const HELP = "Run with --help to list commands and options.";

/** The error for incorrect usage that the command itself detects. */
export class UsageError extends Error {
  readonly hint: string;
  /** The problems of a file, each of which is printed on a separate line. */
  readonly problems: readonly PolicyProblem[];

  constructor(message: string, hint = HELP, problems: readonly PolicyProblem[] = []) {
    super(message);
    this.name = "UsageError";
    this.hint = hint;
    this.problems = problems;
  }
}

/** The error for problems that a command was asked to look for, which leads to exit code 1, whatever its code. */
export class ProblemsFoundError extends CairnError {}

/** All other error codes mean that a service, a store or a disk failed, and lead to exit code 3. */
const EXIT_BY_CODE: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: EXIT.usage,
  CONFIG_SYNTAX: EXIT.usage,
  CONFIG_NOT_FOUND: EXIT.usage,
  CONFIG_MODULE: EXIT.usage,
  REQUEST_INVALID: EXIT.usage,
  METHOD_NOT_ALLOWED: EXIT.usage,
  TX_INVALID: EXIT.usage,
  TX_TOO_LARGE: EXIT.usage,
  UNAUTHORIZED: EXIT.usage,
  FORBIDDEN: EXIT.usage,
  NOT_FOUND: EXIT.no,
  CONFLICT: EXIT.no,
  WATCH_COMPACTED: EXIT.no,
  OUTCOME_REMOVED: EXIT.no,
  CHECKPOINT_NOT_FOUND: EXIT.no,
  CHECKPOINT_RUNNING: EXIT.no,
  CHECKPOINT_CORRUPT: EXIT.no,
  CHECKPOINT_INCOMPLETE: EXIT.no,
  SEGMENT_CORRUPT: EXIT.no,
  KEY_MISSING: EXIT.no,
  PLAIN_REFUSED: EXIT.no,
  INDEX_CORRUPT: EXIT.no,
  INDEX_VERSION: EXIT.no,
  EXPORT_DAMAGED: EXIT.no,
  IMPORT_INCOMPLETE: EXIT.no,
};

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
    const problems = error instanceof ConfigError ? error.problems : fileProblems;
    const body = { code, message, hint: hint ?? null };
    await tell(terminal, JSON.stringify({ error: body, ...(problems.length === 0 ? {} : { problems }) }));
  } else if (error instanceof ConfigError) {
    await tell(terminal, formatProblems(error.problems));
    const file = convertibleFile(error.problems);
    if (file !== undefined) await tell(terminal, `\n${printable(convertHint(file))}`);
  } else {
    await tell(terminal, printableLines(`${code}: ${message}`));
    for (const one of fileProblems) await tell(terminal, `  ${printable(formatPolicyProblem(one))}`);
    if (hint !== undefined) await tell(terminal, printableLines(`  hint: ${hint}`));
  }
  if (options.debug) await writeStacks(error, terminal);
  return exitCode;
}

/** Returns a hint with a command to copy into a shell. */
function convertHint(file: string): string {
  const word = /^[\w@%+=:,./-]+$/.test(file) ? file : `'${file.replaceAll("'", `'\\''`)}'`;
  return `hint: Convert the file to Cairn's format with cairn config convert ${word}, which adds a comment on everything that has no counterpart.`;
}

interface Described {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly exitCode: number;
}

function describe(error: unknown): Described {
  if (error instanceof CairnError) {
    const { code, message, hint } = error;
    const usual = EXIT_BY_CODE[code] ?? EXIT.unavailable;
    return { code, message, hint, exitCode: error instanceof ProblemsFoundError ? EXIT.no : usual };
  }
  if (error instanceof UsageError) {
    return { code: "USAGE", message: error.message, hint: error.hint, exitCode: EXIT.usage };
  }
  if (error instanceof InterruptedError) {
    const { message, hint, exitCode } = error;
    return { code: "INTERRUPTED", message, hint, exitCode };
  }
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

/** The hint for a lack of resources. Unlike a running node, a command does not recover by itself. */
const RUN_AGAIN =
  "Raise the limit on open files (ulimit -n, LimitNOFILE of systemd) or on memory, or install the program again if it is incomplete, and run the command again. Nothing was done.";

/** Turns a message from Commander into one line of sentences. Commander writes its suggestion on a separate line. */
function sentence(text: string): string {
  const [first = "", ...rest] = text.split("\n");
  return [`${first.charAt(0).toUpperCase()}${first.slice(1).replace(/\.$/, "")}.`, ...rest].join(" ");
}

async function writeStacks(error: unknown, terminal: Terminal): Promise<void> {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    await tell(terminal, at.stack ?? at.message);
  }
}
