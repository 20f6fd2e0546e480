/** Random choices that depend only on a seed. */
export interface Chance {
  /** Returns a number from 0 up to but not including 1. */
  next(): number;
  /** Returns a whole number below `limit`. */
  below(limit: number): number;
  pick<T>(from: readonly [T, ...T[]]): T;
}

/** Returns the random choices that a seed determines. */
export function chanceOf(next: () => number): Chance {
  const below = (limit: number): number => Math.floor(next() * limit);
  return { next, below, pick: ([first, ...rest]) => rest[below(rest.length + 1) - 1] ?? first };
}

/** Values that are invalid for every field of a record. */
const ODD_VALUES = [
  null,
  true,
  -1,
  0,
  1.5,
  1e308,
  2 ** 53,
  Number.MAX_SAFE_INTEGER,
  "",
  "\0",
  "a\0b",
  "../../evil",
  "/etc/evil",
  "..",
  "con\nrol\u{1b}[2J",
  "\u{d800}",
  "x".repeat(100_000),
  "9999-12-31T23:59:59.999Z",
  "0000-01-01T00:00:00.000Z",
  "2026-02-31T00:00:00.000Z",
  "f".repeat(64),
  [],
  {},
  { __proto__: null, constructor: "x" },
  [[[[]]]],
] as const;

/** Strings that are not records. */
const ODD_TEXTS: readonly [() => string, ...(() => string)[]] = [
  () => "",
  () => "null",
  () => "[]",
  () => "0",
  () => "\u{feff}{}",
  () => '{"txId": 1e999}',
  () => '{"__proto__": {"txId": 1}}',
  () => "{".repeat(100_000),
  () => "[".repeat(3_000_000) + "]".repeat(3_000_000),
  () => `{"files": [${"{},".repeat(1_000_000)}{}]}`,
  () => '{"a":'.repeat(500_000) + "1" + "}".repeat(500_000),
  () => `"${"\\u0000".repeat(1_000_000)}"`,
  () => "\u{0}".repeat(5_000),
];

/**
 * Returns `text` with one of its fields, at any depth, replaced with an odd value, omitted or repeated, or returns an
 * unrelated string.
 */
export function spoilRecord(text: string, chance: Chance): string {
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (chance.next() < 0.2 || typeof record !== "object" || record === null) return chance.pick(ODD_TEXTS)();
  if (chance.next() < 0.1) return text.replace("{", '{"txId": 7, "owner": "twice", ');
  spoilField(record as Record<string, unknown>, chance);
  return JSON.stringify(record);
}

function spoilField(record: Record<string, unknown>, chance: Chance): void {
  const [first, ...rest] = Object.keys(record);
  if (first === undefined) return;
  const key = chance.pick([first, ...rest]);
  const value = record[key];
  if (typeof value === "object" && value !== null && chance.next() < 0.75) {
    spoilField(value as Record<string, unknown>, chance);
  } else if (chance.next() < 0.1) delete record[key];
  else record[key] = chance.pick(ODD_VALUES);
}
