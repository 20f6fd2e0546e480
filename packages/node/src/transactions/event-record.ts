/** Bytes of UTF-8 that each field may have, and whether it is needed. */
export const EVENT_FIELDS: ReadonlyMap<string, { readonly most: number; readonly needed?: true }> = new Map([
  ["object", { most: 1_536, needed: true }],
  ["reason", { most: 256, needed: true }],
  ["message", { most: 16_384 }],
  ["bucket", { most: 253 }],
  ["time", { most: 19 }],
  ["type", { most: 64 }],
  ["source", { most: 256 }],
]);

/** 2^63 - 1: what clocks that count nanoseconds hold, until the year 2262. */
const LAST_TIME = 9_223_372_036_854_775_807n;

/**
 * Why `value` is not an event, or undefined when it is one. A part of the index version, and so are the words: they are stored where a
 * message of the log is refused. {@link eventRefusal} has better ones for who sends an event.
 */
export function eventProblem(value: unknown): string | undefined {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return 'an event is {"object", "reason", "message"?, "bucket"?, "time"?, "type"?, "source"?}';
  }
  const event = value as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(event)) {
    if (!EVENT_FIELDS.has(name))
      return `an event has no ${JSON.stringify(name)}; known are ${[...EVENT_FIELDS.keys()].join(", ")}`;
  }
  for (const [name, { most, needed }] of EVENT_FIELDS) {
    const text = event[name];
    if (text === undefined && needed === undefined) continue;
    if (text === undefined) return `an event needs ${name}`;
    if (typeof text !== "string" || (needed === true && text === "")) {
      return `an event's ${name} is text${name === "time" ? ": nanoseconds since 1970 in digits" : ""}`;
    }
    if (!text.isWellFormed()) return `an event's ${name} must be valid Unicode`;
    if (Buffer.byteLength(text) > most) return `an event's ${name} has at most ${most} bytes`;
  }
  const { time } = event as { time?: string };
  if (time !== undefined && (!/^(?:0|[1-9]\d*)$/.test(time) || BigInt(time) > LAST_TIME)) {
    return `an event's time is nanoseconds since 1970 in digits, not ${JSON.stringify(time)}`;
  }
  return undefined;
}
