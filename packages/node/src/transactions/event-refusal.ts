import { nearestName } from "../text/nearest-name.ts";
import { EVENT_FIELDS, eventProblem } from "./event-record.ts";

/** The meaning of each field, as part of a sentence. */
const MEANING: Readonly<Record<string, string>> = {
  object: 'what it happened to, such as "pod/web-0"',
  reason: 'a word, such as "Scheduled"',
  time: 'nanoseconds since 1970 in decimal digits, such as "1714300000000000001"',
};

/**
 * Returns an explanation for the sender of why `value` cannot be recorded as an event; undefined if it can. Only {@link
 * eventProblem} determines what an event is. Its wording is stored in the rows of indexes, and therefore must not
 * change.
 */
export function eventRefusal(value: unknown): string | undefined {
  const problem = eventProblem(value);
  if (problem === undefined) return undefined;
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return `${problem}, not ${shown(value)}`;
  }
  const event = value as Readonly<Record<string, unknown>>;
  const unknown = Object.keys(event).find((name) => !EVENT_FIELDS.has(name));
  if (unknown !== undefined) {
    const near = nearestName(unknown, EVENT_FIELDS.keys());
    const meant = near === undefined ? "" : ` (did you mean ${near}?)`;
    return `an event has no field ${JSON.stringify(unknown)}${meant}; its fields are ${[...EVENT_FIELDS.keys()].join(", ")}`;
  }
  for (const [name, { maxBytes, required }] of EVENT_FIELDS) {
    const found = event[name];
    if (found === undefined && required === undefined) continue;
    const rule = `an event's "${name}" must be a string of ${required === true ? "1 to" : "at most"} ${maxBytes} bytes`;
    const expected = MEANING[name] === undefined ? rule : `${rule} (${MEANING[name]})`;
    if (found === undefined) return `${expected}, but it is missing`;
    if (typeof found !== "string") return `${expected}, not ${shown(found)}`;
    if (found === "" && required === true) return `${expected}, but it is empty`;
    if (!found.isWellFormed()) return `${expected}, but it is not valid Unicode`;
    const bytes = Buffer.byteLength(found);
    if (bytes > maxBytes) return `${expected}, but it has ${bytes}`;
  }
  // At this point, only the time can be invalid.
  return `an event's "time" must be ${MEANING["time"]}, at most 9223372036854775807, not ${JSON.stringify(event["time"])}`;
}

const MAX_SHOWN_CHARACTERS = 40;

function shown(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map";
  if (typeof value !== "string") return `the ${typeof value} ${String(value)}`;
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN_CHARACTERS ? "a string" : `the string ${text}`;
}
