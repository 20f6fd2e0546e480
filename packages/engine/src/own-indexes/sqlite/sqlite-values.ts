import type { Json } from "@cairn/client";
import type { SqliteValue } from "./sqlite-driver.ts";

/** Returns a value as SQLite has it: booleans are numbers, and lists and objects JSON. */
export function sqliteValue(value: Json): SqliteValue {
  if (value === null) return null;
  if (typeof value === "string") return sqliteText(value);
  if (typeof value === "boolean") return value ? 1n : 0n;
  if (typeof value !== "number") return JSON.stringify(value);
  // Drivers bind a number as a floating-point value, with which SQL calculates differently.
  return Number.isSafeInteger(value) ? BigInt(value) : value;
}

/** Returns whether some drivers bind a number as 0: @photostructure/sqlite does, but not its negative. */
export function isTiny(value: SqliteValue): value is number {
  return typeof value === "number" && value > 0 && value < Number.EPSILON;
}

/** The characters that SQLite's text cannot hold, or ends at, become the replacement character. */
export function sqliteText(text: string): string {
  return text.isWellFormed() && !text.includes("\0") ? text : text.toWellFormed().replaceAll("\0", "\ufffd");
}

/** Returns a value of a result. Numbers that JSON cannot hold become strings, and blobs base64. */
export function resultValue(value: unknown): Json {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : (value as Json);
}
