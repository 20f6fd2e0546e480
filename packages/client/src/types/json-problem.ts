/** Every value is traversed, but few contain cycles, so the search for them begins after so many values. */
const MAX_VALUES_BEFORE_CYCLE_CHECK = 100_000;

/** The reason why JSON cannot represent a value, as a clause, and where in the value that is: "" for the value itself. */
export interface JsonProblem {
  readonly reason: string;
  readonly path: string;
}

/**
 * Returns the reason why JSON cannot represent a value unchanged; undefined if it can. `what` names the value in the
 * reason, which contains the path of the part in question. JSON has no infinite numbers or NaN, integers beyond
 * 2^53 - 1, undefined, functions, symbols, BigInts, objects whose content is not in their members (JSON.stringify turns
 * a Map into `{}`) or that write themselves in another way (a Date), names that are symbols, or cycles. A member that is
 * undefined is ignored, because the document reads the same without it. `maxDepth` limits how deep lists and maps may
 * nest.
 */
export function jsonProblem(
  what: string,
  root: unknown,
  maxDepth = Number.POSITIVE_INFINITY,
): JsonProblem | undefined {
  const whole = (clause: string): JsonProblem => ({ reason: `${what} ${clause}`, path: "" });
  // The traversal uses an explicit stack, because a value may be nested more deeply than the call stack allows.
  const rest: unknown[] = [root];
  /** The depths of the values in `rest`. */
  const depths: number[] = [0];
  for (let seen = 1; rest.length > 0; seen += 1) {
    const value = rest.pop();
    const depth = depths.pop() ?? 0;
    if (seen === MAX_VALUES_BEFORE_CYCLE_CHECK && hasCycle(root)) return whole(CYCLE);
    const problem = ownProblem(value);
    if (problem !== undefined) {
      const path = pathOf(root, value);
      return { reason: `${what}${path === "" ? "" : ` at ${path}`} ${problem}`, path };
    }
    if (typeof value !== "object" || value === null) continue;
    if (depth === maxDepth) {
      if (hasCycle(root)) return whole(CYCLE);
      return whole(
        `is nested too deeply: lists and maps can be nested at most ${maxDepth} levels deep. Store it as a string`,
      );
    }
    for (const inner of iterate(value)) {
      if (isAbsent(inner, value)) continue;
      rest.push(inner);
      depths.push(depth + 1);
    }
  }
  return undefined;
}

const CYCLE = "contains itself, which JSON does not allow";

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
      if (value === null || Array.isArray(value)) return undefined;
      // The members of other objects, of this realm or another one, are not their content.
      if (
        Object.prototype.toString.call(value) !== "[object Object]" ||
        ("toJSON" in value && typeof value.toJSON === "function")
      )
        return `must be a JSON value, not ${nameOf(value)}`;
      if (!Object.getOwnPropertySymbols(value).some((name) => isEnumerable.call(value, name)))
        return undefined;
      return "has a member whose name is a symbol, which JSON drops";
    default:
      return `must be a JSON value, not ${typeof value}`;
  }
}

/** Returns where `part` is in `root`, such as `list[1].name`; an empty string for the root itself. */
function pathOf(root: unknown, part: unknown): string {
  const seen = new Set<unknown>();
  const rest: { readonly value: unknown; readonly path: readonly (string | number)[] }[] = [
    { value: root, path: [] },
  ];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const { value, path } = next;
    if (Object.is(value, part)) return pathText(path);
    if (typeof value !== "object" || value === null || seen.has(value)) continue;
    seen.add(value);
    // Unlike the entries of an object, those of an array include its holes.
    const entries = Array.isArray(value) ? (value as unknown[]).entries() : Object.entries(value);
    for (const [name, inner] of entries)
      if (!isAbsent(inner, value)) rest.push({ value: inner, path: [...path, name] });
  }
  return "";
}

/** Returns a path in a document as text: `list[1].name`. */
export function pathText(path: readonly PropertyKey[]): string {
  const text = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
  return text.replace(/^\./, "");
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

/** JSON drops a member that is undefined; an item of a list becomes null. */
function isAbsent(member: unknown, of: object): boolean {
  return member === undefined && !Array.isArray(of);
}

const { propertyIsEnumerable: isEnumerable } = Object.prototype;
