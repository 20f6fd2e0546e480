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

/** What a part of some kind must have and do, and how its faults are reported. */
export interface Contract<T> {
  /** The kind's name in sentences. */
  readonly kind: string;
  readonly code: ErrorCode;
  /** The tests that a correct part passes. */
  readonly tests: string;
  /** The required members that are no methods, with their types. */
  readonly fields: {
    readonly [N in keyof T & string as undefined extends T[N] ? never : T[N] extends Method ? never : N]:
      | "string"
      | "number"
      | "boolean";
  };
  readonly methods: CheckedMethods<T>;
}

/** An answer, of which nothing is known. */
export type AnyAnswer = { readonly [member: string]: unknown } | undefined | null;

/** How a method is checked. Without `is` and `rows`, only what it throws is converted. */
interface CheckedMethod<A extends readonly unknown[]> {
  /** What it must return, or what each row must be that it yields, as a noun phrase. */
  readonly what?: string;
  is?(answer: AnyAnswer, ...args: A): boolean;
  /** Returns the check of the rows that an iterable yields in arrays. */
  rows?(...args: A): (row: AnyAnswer) => boolean;
  /** The methods of the answer, which must have the required ones, and is checked like the part itself. */
  readonly part?: AnyMethods;
  /** Returns a correct answer with a check in it. */
  within?(answer: never, boundary: Boundary, ...args: A): unknown;
  readonly isSync?: boolean;
  /** A sentence for a method that changes something: after a fault, its outcome is unknown. */
  readonly outcome?: string;
}

type Method = (...args: never[]) => unknown;
type MethodOf<T> = T extends (...args: infer A) => unknown ? CheckedMethod<A> : never;
/** Whether a part may lack a method. */
type Optional<T> = undefined extends T ? { readonly isOptional: true } : { readonly isOptional?: never };

/** The methods of a contract. The compiler requires each of them, and the marks of optional ones. */
export type CheckedMethods<T> = {
  readonly [N in keyof T & string as NonNullable<T[N]> extends Method ? N : never]-?: MethodOf<
    NonNullable<T[N]>
  > &
    Optional<T[N]>;
};

type AnyMethod = CheckedMethod<readonly unknown[]> & { readonly isOptional?: true };
type AnyMethods = Readonly<Record<string, AnyMethod>>;

export const UNKNOWN_OUTCOME = "Whether it changed anything is unknown.";

/** The same part has the same wrapper, because stores that are given twice are closed once. */
const checked = new WeakMap<object, object>();

/**
 * Returns the part that the module `id` has made with a check around each of its methods: an answer that breaks the
 * contract, and whatever is thrown that is no CairnError, becomes one that names the module. So nothing computes with a
 * wrong answer, and the node reacts as it does to any other failure of such a part.
 */
export function checkedPart<T extends object>(part: T, contract: Contract<T>, id: string): T {
  const { kind, code, tests, methods } = contract;
  const hint = `Correct that module, or what its error names, and start the node again: a correct ${kind} passes ${tests}. Until then, a node that waits for it tries again by itself.`;
  return withChecks(part, methods, { part: `The ${kind} of ${id}`, code, hint }) as T;
}

function withChecks(part: object, methods: AnyMethods, boundary: Boundary): object {
  return madeOnce(checked, part, () => {
    const own = Object.entries(methods)
      .filter(([name]) => isMethod(part, name))
      .map(([name, method]) => [name, checkedMethod(part, name, method, boundary)]);
    return wrapped(part, Object.fromEntries(own) as object);
  });
}

/** Returns the required members that `value` lacks, or has with a different type. */
export function missingMembers<T>(value: unknown, { fields, methods }: Contract<T>): readonly string[] {
  const missing = Object.entries<string>(fields)
    .filter(([name, type]) => typeof (value as AnyAnswer)?.[name] !== type)
    .map(([name, type]) => `${name} (${type})`);
  return [...missing, ...missingMethods(value, methods).map((name) => `${name}()`)];
}

function missingMethods(value: unknown, methods: AnyMethods): readonly string[] {
  const required = Object.keys(methods).filter((name) => methods[name]?.isOptional !== true);
  return required.filter((name) => !isMethod(value, name));
}

function isMethod(value: unknown, name: string): boolean {
  return typeof (value as AnyAnswer)?.[name] === "function";
}

type Args = readonly unknown[];

function checkedMethod(part: object, name: string, method: AnyMethod, boundary: Boundary): unknown {
  const { what = "", part: within, isSync, outcome } = method;
  const call = (args: Args): unknown => Reflect.apply(Reflect.get(part, name), part, args);
  const fault = (happened: string, cause?: unknown): CairnError =>
    moduleFault(boundary, `${name}() ${happened}.${outcome === undefined ? "" : ` ${outcome}`}`, cause);
  const verified = (answer: unknown, args: Args): unknown => {
    const isWrong = within !== undefined && missingMethods(answer, within).length > 0;
    if (isWrong || method.is?.(answer as AnyAnswer, ...args) === false)
      throw fault(`returned ${shown(answer)}, not ${what}`);
    if (within !== undefined) return withChecks(answer as object, within, boundary);
    return method.within === undefined ? answer : method.within(answer as never, boundary, ...args);
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
    const isRight = method.rows?.(...args) ?? (() => true);
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
  if (method.rows !== undefined) return (...args: Args) => checkedRows(now(args), args);
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
