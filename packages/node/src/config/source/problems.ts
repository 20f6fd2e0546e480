import { CairnError } from "@cairn/kv";
import type { ErrorCode } from "@cairn/kv";
import { SOURCE_KINDS, placeOf } from "./config-tree.ts";
import type { Origin } from "./config-tree.ts";
import { omitUndefined } from "./omit-undefined.ts";

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  readonly code: Extract<ErrorCode, `CONFIG_${string}`>;
  /** Names from the top of the configuration down; empty when the problem is not about one value (a syntax error). */
  readonly path: readonly string[];
  /** `FILE:LINE:COLUMN`, or the source alone (`-e:1:5`, `NATS_URL`, `object`). */
  readonly place: string;
  /** A sentence: what is wrong, what was expected. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
  /** It is what configurations of Crux and XTDB have, and `cairn config convert` takes care of it. */
  readonly older?: true;
}

/** A configuration that cannot be used. The message names the first problem; {@link problems} holds all. */
export class ConfigError extends CairnError {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const [first, ...rest] = problems;
    const more = rest.length === 0 ? "" : ` (and ${rest.length} more)`;
    const sentence = first === undefined ? "The configuration is invalid." : sentenceOf(first);
    super(first?.code ?? "CONFIG_INVALID", `${sentence}${more}`, omitUndefined({ hint: first?.hint }));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** Collects problems, so that all can be told at once. */
export class ProblemList {
  readonly problems: ConfigProblem[] = [];
  readonly #origins: Origin[] = [];
  /** Of each problem that variables are, the text that it is about. */
  readonly #unfilled = new Map<ConfigProblem, string>();

  /** Adds a problem, which is a fault of the value at `origin`. */
  add(origin: Origin, path: readonly string[], message: string, options: ProblemOptions = {}): void {
    const { code = "CONFIG_INVALID", hint, older = false } = options;
    const problem = { code, path, place: placeOf(origin), message, ...(older ? { older } : {}) };
    this.problems.push({ ...problem, ...omitUndefined({ hint }) });
    this.#origins.push(origin);
  }

  /** Adds why a variable cannot be put into a text. What else is wrong with that text follows from this, and is not told. */
  addUnfilled(origin: Origin, path: readonly string[], message: string, hint: string): void {
    this.add(origin, path, message, { hint });
    const added = this.problems.at(-1);
    if (added !== undefined) this.#unfilled.set(added, textOf(added));
  }

  /** Whether some texts are not what they are meant to be. */
  get someUnfilled(): boolean {
    return this.#unfilled.size > 0;
  }

  /** Whether at most variables are wrong, so that all else can be looked at. */
  get onlyUnfilled(): boolean {
    return this.problems.length === this.#unfilled.size;
  }

  /** The problems source by source, each source from its first line down. */
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

/** What a problem has beside its place and sentence. */
export interface ProblemOptions {
  /** Default CONFIG_INVALID. */
  readonly code?: ConfigProblem["code"];
  readonly hint?: string | undefined;
  /** Default false. */
  readonly older?: boolean;
}

/** A path as messages write it: `cairn/index-store > kv-store > checkpointer`. */
export function formatPath(path: readonly string[]): string {
  return path.join(" > ");
}

/** All problems as text for a terminal: for each its place and path, the sentence, and the hint below it. */
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

function sentenceOf(problem: ConfigProblem): string {
  const where = problem.path.length === 0 ? problem.place : `${problem.place}, ${formatPath(problem.path)}`;
  return `${where}: ${problem.message}`;
}

function textOf({ place, path }: ConfigProblem): string {
  return JSON.stringify([place, path]);
}

/** The file with problems of which `cairn config convert` takes care, where there is one. */
export function convertibleFile(problems: readonly ConfigProblem[]): string | undefined {
  const [, file] =
    problems
      .filter(({ older }) => older === true)
      .map(({ place }) => /^(.+\.(?:edn|json)):\d+:\d+$/i.exec(place))
      .find((match) => match !== null) ?? [];
  return file;
}
