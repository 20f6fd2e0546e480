/** Every value is traversed, but few contain cycles, so the search for them begins after so many values. */
const MAX_VALUES_BEFORE_CYCLE_CHECK = 100_000;

/**
 * Returns the reason why JSON cannot represent a value unchanged; undefined if it can. `what` names the value in the
 * message. JSON has no infinite numbers or NaN, integers beyond 2^53 - 1, undefined, functions, symbols, BigInts,
 * objects that are not plain (JSON.stringify turns a Map into `{}`), or cycles. `maxDepth` limits how deep lists and
 * maps may nest.
 */
export function jsonProblem(
  what: string,
  root: unknown,
  maxDepth = Number.POSITIVE_INFINITY,
): string | undefined {
  // The traversal uses an explicit stack, because a value may be nested more deeply than the call stack allows.
  const rest: unknown[] = [root];
  /** The depths of the values in `rest`. */
  const depths: number[] = [0];
  for (let seen = 1; rest.length > 0; seen += 1) {
    const value = rest.pop();
    const depth = depths.pop() ?? 0;
    if (seen === MAX_VALUES_BEFORE_CYCLE_CHECK && hasCycle(root))
      return `${what} contains itself, which JSON does not allow`;
    switch (typeof value) {
      case "number":
        if (!Number.isFinite(value)) return `${what} contains a number that JSON cannot represent`;
        if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
          return `the integer ${value} is beyond 2^53 - 1 and would lose digits. Store it as a string`;
        }
        break;
      case "string":
      case "boolean":
        break;
      case "object":
        if (value === null) break;
        if (!Array.isArray(value) && !isPlain(value))
          return `${what} must be a JSON value, not ${nameOf(value)}`;
        if (depth === maxDepth) {
          if (hasCycle(root)) return `${what} contains itself, which JSON does not allow`;
          return `${what} is nested too deeply: lists and maps can be nested at most ${maxDepth} levels deep. Store it as a string`;
        }
        for (const inner of iterate(value)) {
          rest.push(inner);
          depths.push(depth + 1);
        }
        break;
      default:
        return `${what} must be a JSON value, not ${typeof value}`;
    }
  }
  return undefined;
}

/** Returns whether an object is plain, in this realm or another one: its prototype has no prototype. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function nameOf(value: object): string {
  const { constructor } = value as { constructor?: unknown };
  return typeof constructor === "function" && constructor.name !== ""
    ? `an instance of ${constructor.name}`
    : "an instance of a class";
}

/** Returns whether a map or list in `root` contains itself. */
function hasCycle(root: unknown): boolean {
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
