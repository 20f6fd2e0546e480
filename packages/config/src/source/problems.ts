import { CairnError, type ErrorCode, withoutUser } from "@cairn/kv";
import { abbreviate, SOURCE_KINDS, placeOf, type Origin } from "./config-tree.ts";
import { omitUndefined } from "@cairn/text";

/** The names in maps, and the numbers of items in lists, from the top down to a value. */
export type ConfigPath = readonly (string | number)[];

export interface ConfigProblem {
  readonly code: Extract<ErrorCode, `CONFIG_${string}`>;
  /** The names from the top down to the value; empty if the problem concerns no single value (a syntax error). */
  readonly path: readonly string[];
  /** The problem's position: `FILE:LINE:COLUMN`, or only the source (`-e:1:5`, `NATS_URL`, `object`). */
  readonly place: string;
  /** A sentence that describes the problem or the expected value. */
  readonly message: string;
  readonly hint?: string;
}

/** The error for an unusable configuration. The message is the first problem; {@link problems} contains all of them. */
export class ConfigError extends CairnError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const [first, ...rest] = problems;
    const more = rest.length === 0 ? "" : ` (and ${rest.length} more)`;
    const sentence =
      first === undefined
        ? "The configuration is invalid."
        : `${whereOf(first.place, first.path)}: ${first.message}`;
    super(first?.code ?? "CONFIG_INVALID", `${sentence}${more}`, omitUndefined({ hint: first?.hint }));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Collects problems, so that all of them are reported at once. */
export class ProblemList {
  readonly problems: ConfigProblem[] = [];
  readonly #origins: Origin[] = [];
  /** The problems of variables, each with the affected string. */
  readonly #unfilled = new Map<ConfigProblem, string>();

  add(
    origin: Origin,
    path: ConfigPath,
    message: string,
    hint?: string,
    code: ConfigProblem["code"] = "CONFIG_INVALID",
  ): void {
    this.problems.push({
      code,
      path: path.map(String),
      place: placeOf(origin),
      message: shortened(withoutUser(message)),
      ...omitUndefined({ hint: hint === undefined ? undefined : shortened(hint) }),
    });
    this.#origins.push(origin);
  }

  /** Adds why a variable cannot be expanded. Other problems of that string result from it and are not reported. */
  addUnfilled(origin: Origin, path: ConfigPath, message: string, hint: string): void {
    this.add(origin, path, message, hint);
    const added = this.problems.at(-1);
    if (added !== undefined) this.#unfilled.set(added, textOf(added));
  }

  /** Returns whether variables in some strings could not be expanded. */
  get someUnfilled(): boolean {
    return this.#unfilled.size > 0;
  }

  /** Returns whether all problems so far concern variables, so that reading can continue. */
  get onlyUnfilled(): boolean {
    return this.problems.length === this.#unfilled.size;
  }

  /** Returns the problems grouped by source, and for each source in the order of its lines. */
  inOrder(): readonly ConfigProblem[] {
    const rank = (at: number): number[] => {
      const { kind, line = 0, column = 0 } = this.#origins[at] ?? { kind: "default" };
      return [SOURCE_KINDS.indexOf(kind), line, column];
    };
    const unfilled = new Set(this.#unfilled.values());
    return this.problems
      .map((problem, at) => ({ problem, rank: rank(at) }))
      .filter(({ problem }) => this.#unfilled.has(problem) || !unfilled.has(textOf(problem)))
      .toSorted(
        (left, right) =>
          left.rank.map((value, at) => value - (right.rank[at] ?? 0)).find((by) => by !== 0) ?? 0,
      )
      .map(({ problem }) => problem);
  }
}

/** Formats a path for messages: `cairn/index-store > kv-store > checkpointer`. */
export function formatPath(path: ConfigPath): string {
  return shortened(path.join(" > "));
}

/** Shortens words that are longer than any path, which would fill the screen. */
function shortened(text: string): string {
  return text.replaceAll(/\S{4096,}/g, abbreviate);
}

/** Formats all problems for a terminal, each with its position and path, its message, and its hint. */
export function formatProblems(problems: readonly ConfigProblem[]): string {
  return problems
    .map((problem) => {
      const head =
        problem.path.length === 0 ? problem.place : `${problem.place}  ${formatPath(problem.path)}`;
      const lines = [head, `  ${problem.code}: ${problem.message}`];
      if (problem.hint !== undefined) lines.push(`  hint: ${problem.hint}`);
      return lines.join("\n");
    })
    .join("\n\n");
}

/** Names a place in a configuration at the beginning of a sentence. */
export function whereOf(place: string, path: ConfigPath): string {
  return path.length === 0 ? place : `${place}, ${formatPath(path)}`;
}

function textOf({ place, path }: ConfigProblem): string {
  return JSON.stringify([place, path]);
}
