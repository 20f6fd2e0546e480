import { inspect } from "node:util";
import { CairnError, type ErrorCode, errorMessage, isCairnError } from "@cairn/kv";
import { madeOnce, wrapped } from "@cairn/text";

/** A part that a module of one's own has made, and how its faults are reported. */
export interface Boundary {
  /** The beginning of each message, such as "The log of ./my-log.js#open". */
  readonly part: string;
  /** Decides what the node does after a fault (`failure-policy.ts` of the engine). */
  readonly code: ErrorCode;
  readonly hint: string;
}

/** `kind` is a part's name in sentences, `id` the module's name in the configuration, and `tests` those of the contract. */
export function boundaryOf(kind: string, id: string, code: ErrorCode, tests: string): Boundary {
  const hint = `Correct that module, or what its error names, and start the node again: a correct ${kind} passes ${tests}. Until then, a node that waits for it tries again by itself.`;
  return { part: `The ${kind} of ${id}`, code, hint };
}

/** An answer, of which nothing is known. */
export type AnyAnswer = { readonly [member: string]: unknown } | undefined | null;

/** How a method is checked. Without `is` and `rows`, only what it throws is converted. */
interface CheckedMethod<A extends readonly unknown[]> {
  /** What it must return, or what each row must be that it yields, as a noun phrase. */
  readonly what?: string;
  readonly is?: (answer: AnyAnswer, ...args: A) => boolean;
  /** Returns the check of the rows that an iterable yields in arrays. */
  readonly rows?: (...args: A) => (row: AnyAnswer) => boolean;
  /** Returns a correct answer with its own methods checked. */
  readonly within?: (answer: never, boundary: Boundary, ...args: A) => unknown;
  readonly isSync?: boolean;
  /** A sentence for a method that changes something: after a fault, its outcome is unknown. */
  readonly outcome?: string;
}

type MethodOf<T> = T extends (...args: infer A) => unknown ? CheckedMethod<A> : never;

/** The methods of a contract. The compiler requires each of them. */
export type CheckedMethods<T> = {
  readonly [
    N in keyof T & string as NonNullable<T[N]> extends (...args: never[]) => unknown ? N : never
  ]-?: MethodOf<NonNullable<T[N]>>;
};

type AnyMethod = CheckedMethod<readonly unknown[]>;

export const UNKNOWN_OUTCOME = "Whether it changed anything is unknown.";

/** The same part has the same wrapper, because stores that are given twice are closed once. */
const checked = new WeakMap<object, object>();

/**
 * Returns `part` with a check around each of its methods: an answer that breaks the contract, and whatever is thrown
 * that is no CairnError, becomes one that names the module. So nothing computes with a wrong answer, and the node reacts
 * as it does to any other failure of such a part.
 */
export function checkedPart<T extends object>(part: T, methods: CheckedMethods<T>, boundary: Boundary): T {
  const wrap = (): T => {
    const own = Object.entries<AnyMethod>(methods)
      .filter(([name]) => hasMethods(part, [name]))
      .map(([name, method]) => [name, checkedMethod(part, name, method, boundary)]);
    // Each of these replaces the member with its name.
    return wrapped<T>(part, Object.fromEntries(own) as Partial<T>);
  };
  return madeOnce(checked as WeakMap<T, T>, part, wrap);
}

type Args = readonly unknown[];

function checkedMethod(part: object, name: string, method: AnyMethod, boundary: Boundary): unknown {
  const { what = "", is, rows, within, isSync, outcome } = method;
  const call = (args: Args): unknown => Reflect.apply(Reflect.get(part, name), part, args);
  const fault = (happened: string, cause?: unknown): CairnError =>
    moduleFault(boundary, `${name}() ${happened}.${outcome === undefined ? "" : ` ${outcome}`}`, cause);
  const verified = (answer: unknown, args: Args): unknown => {
    if (is?.(answer as AnyAnswer, ...args) === false) throw fault(`returned ${shown(answer)}, not ${what}`);
    return within === undefined ? answer : within(answer as never, boundary, ...args);
  };
  const explained = (error: unknown, args: Args): unknown =>
    isCairnError(error) || args.some(isEnded) ? error : fault(`threw ${thrown(error)}`, error);
  const now = (args: Args): unknown => {
    try {
      return verified(call(args), args);
    } catch (error) {
      throw explained(error, args);
    }
  };
  async function* checkedRows(pages: unknown, args: Args): AsyncGenerator<unknown, void, void> {
    const isRight = rows?.(...args) ?? (() => true);
    try {
      // A rejected promise in place of an iterable would end the process if it were not awaited.
      for await (const page of (await pages) as AsyncIterable<unknown>) {
        if (!Array.isArray(page)) throw fault(`yielded ${shown(page)}, not an array`);
        const wrong = page.findIndex((row: AnyAnswer) => !isRight(row));
        if (wrong >= 0) throw fault(`yielded ${shown(page[wrong])}, not ${what}`);
        yield page;
      }
    } catch (error) {
      throw explained(error, args);
    }
  }
  if (isSync === true) return (...args: Args) => now(args);
  // An iterable is of the time of the call, not of that of its first use.
  if (rows !== undefined) return (...args: Args) => checkedRows(now(args), args);
  return async (...args: Args) => {
    try {
      return verified(await call(args), args);
    } catch (error) {
      throw explained(error, args);
    }
  };
}

/** `happened` is a sentence about one of the part's methods, and begins with its name. */
export function moduleFault({ part, code, hint }: Boundary, happened: string, cause: unknown): CairnError {
  return new CairnError(code, `${part}: ${happened}`, { hint, cause });
}

/** Returns whether an argument is or has an aborted signal: the error is then the caller's own. */
function isEnded(arg: unknown): boolean {
  const signal = arg instanceof AbortSignal ? arg : (arg as AnyAnswer)?.["signal"];
  return signal instanceof AbortSignal && signal.aborted;
}

export function hasMethods(value: unknown, names: readonly string[]): boolean {
  return names.every((name) => typeof (value as AnyAnswer)?.[name] === "function");
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

export function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** Returns what was thrown, as a noun phrase. */
export function thrown(error: unknown): string {
  return error instanceof Error ? `an error (${shortened(String(errorMessage(error)))})` : shown(error);
}

const MAX_SHOWN = 120;

function shown(value: unknown): string {
  return shortened(inspect(value, { depth: 1, maxStringLength: MAX_SHOWN, breakLength: Infinity }));
}

function shortened(text: string): string {
  const [line = ""] = text.split("\n", 1);
  return line.length < text.length || line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line;
}
