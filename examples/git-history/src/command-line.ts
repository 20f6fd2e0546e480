import { parseArgs } from "node:util";
import { HistoryError } from "./history-error.ts";

/** A parsed command line. */
export interface Command {
  readonly action: "export" | "expect" | "history" | "make" | "help";
  readonly repo: string;
  readonly ref: string;
  readonly name?: string;
  readonly limit?: number;
  readonly sinceCommit?: string;
  readonly path?: string;
  readonly commits: number;
  readonly seed: number;
}

/** The text of `--help`. */
export const HELP = `Usage: main.js [export] [--repo DIR] [--ref REF] [--name NAME] [--limit N] [--since-commit COMMIT]
       main.js expect [--repo DIR] [--ref REF]
       main.js history --path NAME [--repo DIR] [--ref REF]
       main.js make --repo DIR [--commits N] [--seed N]

export   Prints the first-parent history as NDJSON, one transaction per line, oldest commit first (the default).
expect   Prints the contents of the bucket "files" after REF: {"name", "document"}, one per line, in key order.
history  Prints the versions of one file: {"commit", "document"}, one per line, oldest first; null if it was deleted.
make     Makes a bare repository in DIR with everything that a history can contain, to try the other commands on.

  --repo DIR             a directory in the repository (default: the current one)
  --ref REF              the last commit: a branch, a tag, an object id (default: HEAD)
  --name NAME            the namespace of all keys (default: the name of the repository's directory)
  --limit N              at most N commits
  --since-commit COMMIT  begin after this commit of the first-parent history
  --path NAME            the document's name, or its "path" where the name was shortened
  --commits N, --seed N  how many commits to make (default: 1000), and from which seed (default: 1)

Example:
  node examples/git-history/dist/src/main.js --repo ~/src/express | pnpm cairn load -
`;

const ACTIONS = ["export", "expect", "history", "make", "help"] as const;

const OPTIONS = {
  repo: { type: "string" },
  ref: { type: "string" },
  name: { type: "string" },
  limit: { type: "string" },
  "since-commit": { type: "string" },
  path: { type: "string" },
  commits: { type: "string" },
  seed: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

// The options of each action besides --help. Other options are refused, not ignored.
const OPTIONS_OF: Record<Command["action"], readonly string[]> = {
  export: ["repo", "ref", "name", "limit", "since-commit"],
  expect: ["repo", "ref"],
  history: ["repo", "ref", "path"],
  make: ["repo", "commits", "seed"],
  help: Object.keys(OPTIONS),
};

/** Parses the arguments. Throws a {@link HistoryError} if they are invalid. */
export function readCommandLine(args: readonly string[]): Command {
  const { values, positionals } = parse(args);
  const action =
    values.help === true ? "help" : ACTIONS.find((known) => known === (positionals[0] ?? "export"));
  if (action === undefined || positionals.length > 1) {
    throw wrong(`"${positionals[action === undefined ? 0 : 1]}" is not understood here.`);
  }
  const stray = Object.keys(values).find(
    (option) => option !== "help" && !OPTIONS_OF[action].includes(option),
  );
  if (stray !== undefined) throw wrong(`The option --${stray} is not for ${action}.`);
  if (action === "history" && values.path === undefined) throw wrong("The command history needs --path.");
  if (action === "make" && values.repo === undefined) throw wrong("The command make needs --repo.");
  const limit = wholeNumber("limit", values.limit);
  return {
    action,
    repo: values.repo ?? ".",
    ref: values.ref ?? "HEAD",
    ...(values.name === undefined ? {} : { name: values.name }),
    ...(limit === undefined ? {} : { limit }),
    ...(values["since-commit"] === undefined ? {} : { sinceCommit: values["since-commit"] }),
    ...(values.path === undefined ? {} : { path: values.path }),
    commits: wholeNumber("commits", values.commits) ?? 1000,
    seed: wholeNumber("seed", values.seed) ?? 1,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw wrong(cause.message.replace(/\.?$/, "."), cause);
  }
}

function wholeNumber(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d{1,9}$/.test(value)) throw wrong(`--${option} takes a whole number, not "${value}".`);
  return Number(value);
}

function wrong(message: string, cause?: unknown): HistoryError {
  return new HistoryError(message, { hint: "Use --help to list them.", cause });
}
