/** Looked whether it holds itself only where it goes on for so long: few values do, and all are walked. */
const MANY_VALUES = 100_000;

/**
 * Why a value cannot be sent as JSON without becoming another one, `what` being what it is called; undefined when it can. Not JSON are
 * numbers that are not finite, integers beyond 2^53 - 1, undefined, functions, symbols, BigInts, maps of other kinds than plain objects
 * (of a Map, JSON.stringify makes `{}`), and what holds itself. `maxDepth`: how deep lists and maps may lie in one another.
 */
export function jsonProblem(
  what: string,
  root: unknown,
  maxDepth = Number.POSITIVE_INFINITY,
): string | undefined {
  // With a stack of its own: a value may be nested deeper than the call stack is.
  const rest: unknown[] = [root];
  /** How deep each of `rest` lies. */
  const depths: number[] = [0];
  for (let seen = 1; rest.length > 0; seen += 1) {
    const value = rest.pop();
    const depth = depths.pop() ?? 0;
    if (seen === MANY_VALUES && holdsItself(root)) return `${what} holds itself, which JSON cannot`;
    switch (typeof value) {
      case "number":
        if (!Number.isFinite(value)) return `${what} has a number that JSON cannot hold`;
        if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
          return `the integer ${value} is beyond 2^53 - 1 and would lose digits; store it as text`;
        }
        break;
      case "string":
      case "boolean":
        break;
      case "object":
        if (value === null) break;
        if (!Array.isArray(value) && !isPlain(value))
          return `${what} is a JSON value, which a ${nameOf(value)} is not`;
        if (depth === maxDepth) {
          if (holdsItself(root)) return `${what} holds itself, which JSON cannot`;
          return `${what} is nested too deeply: at most ${maxDepth} lists and maps within one another; store it as text`;
        }
        for (const inner of iterate(value)) {
          rest.push(inner);
          depths.push(depth + 1);
        }
        break;
      default:
        return `${what} is a JSON value, which ${typeof value} is not`;
    }
  }
  return undefined;
}

/** Of this realm or another one: what it inherits from inherits from nothing. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function nameOf(value: object): string {
  const { constructor } = value as { constructor?: unknown };
  return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "class's instance";
}

/** Whether some map or list in it is inside itself. */
function holdsItself(root: unknown): boolean {
  const around = new Set<unknown>();
  const done = new Set<unknown>();
  const rest: { readonly value: unknown; readonly leave: boolean }[] = [{ value: root, leave: false }];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const { value, leave } = next;
    if (leave) {
      around.delete(value);
      done.add(value);
    } else if (around.has(value)) return true;
    else if (typeof value === "object" && value !== null && !done.has(value)) {
      around.add(value);
      rest.push({ value, leave: true });
      for (const inner of iterate(value)) rest.push({ value: inner, leave: false });
    }
  }
  return false;
}

function iterate(value: object): Iterable<unknown> {
  return Array.isArray(value) ? value : Object.values(value);
}
