/** Every value is traversed, but few contain cycles, so the search for them begins after so many values. */
const MAX_VALUES_BEFORE_CYCLE_CHECK = 100_000;

/**
 * Returns the reason why JSON cannot represent a value unchanged; undefined if it can. `what` names the value in the
 * message, which contains the path of the part in question. JSON has no infinite numbers or NaN, integers beyond
 * 2^53 - 1, undefined, functions, symbols, BigInts, objects whose content is not in their members (JSON.stringify turns
 * a Map into `{}`) or that write themselves in another way (a Date), or cycles. `maxDepth` limits how deep lists and maps
 * may nest.
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
    const problem = ownProblem(value);
    if (problem !== undefined) return `${what}${place(root, value)} ${problem}`;
    if (typeof value !== "object" || value === null) continue;
    if (depth === maxDepth) {
      if (hasCycle(root)) return `${what} contains itself, which JSON does not allow`;
      return `${what} is nested too deeply: lists and maps can be nested at most ${maxDepth} levels deep. Store it as a string`;
    }
    for (const inner of iterate(value)) {
      rest.push(inner);
      depths.push(depth + 1);
    }
  }
  return undefined;
}

/** Returns the problem of a value itself, whatever its members are. */
function ownProblem(value: unknown): string | undefined {
  switch (typeof value) {
    case "number":
      if (!Number.isFinite(value)) return "contains a number that JSON cannot represent";
      if (!Number.isInteger(value) || Number.isSafeInteger(value)) return undefined;
      return `contains the integer ${value}, which is beyond 2^53 - 1 and would lose digits. Store it as a string`;
    case "string":
    case "boolean":
      return undefined;
    case "object":
      if (value === null || Array.isArray(value) || isFaithful(value)) return undefined;
      return `must be a JSON value, not ${nameOf(value)}`;
    default:
      return `must be a JSON value, not ${typeof value}`;
  }
}

/** Returns whether the members of an object are its content, in this realm or another one. */
function isFaithful(value: object): boolean {
  return Object.prototype.toString.call(value) === "[object Object]" && !("toJSON" in value);
}

/** Returns where `part` is in `root`, such as ` at list[1].name`; an empty string for the root itself. */
function place(root: unknown, part: unknown): string {
  const seen = new Set<unknown>();
  const rest: { readonly value: unknown; readonly path: string }[] = [{ value: root, path: "" }];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const { value, path } = next;
    if (Object.is(value, part)) return path === "" ? "" : ` at ${path.replace(/^\./, "")}`;
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    for (const [name, inner] of Object.entries(value))
      rest.push({ value: inner, path: Array.isArray(value) ? `${path}[${name}]` : `${path}.${name}` });
  }
  return "";
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
