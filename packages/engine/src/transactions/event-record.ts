/** The fields of an event, each with its maximum number of bytes in UTF-8 and whether it is required. */
export const EVENT_FIELDS: ReadonlyMap<string, { readonly maxBytes: number; readonly required?: true }> =
  new Map([
    ["object", { maxBytes: 1_536, required: true }],
    ["reason", { maxBytes: 256, required: true }],
    ["message", { maxBytes: 16_384 }],
    ["bucket", { maxBytes: 253 }],
    ["time", { maxBytes: 19 }],
    ["type", { maxBytes: 64 }],
    ["source", { maxBytes: 256 }],
  ]);

/** The largest signed 64-bit integer. A nanosecond clock reaches it in the year 2262. */
const MAX_TIME_NS = 9_223_372_036_854_775_807n;

/**
 * Returns the reason why `value` is not an event; undefined if it is one. The rules and their wording are part of the
 * index version, because the index stores the reason for each rejected message.
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
  for (const [name, { maxBytes, required }] of EVENT_FIELDS) {
    const text = event[name];
    if (text === undefined && required === undefined) continue;
    if (text === undefined) return `an event needs ${name}`;
    if (typeof text !== "string" || (required === true && text === "")) {
      return `an event's ${name} is text${name === "time" ? ": nanoseconds since 1970 in digits" : ""}`;
    }
    if (!text.isWellFormed()) return `an event's ${name} must be valid Unicode`;
    if (Buffer.byteLength(text) > maxBytes) return `an event's ${name} has at most ${maxBytes} bytes`;
  }
  const { time } = event as { time?: string };
  if (time !== undefined && (!/^(?:0|[1-9]\d*)$/.test(time) || BigInt(time) > MAX_TIME_NS)) {
    return `an event's time is nanoseconds since 1970 in digits, not ${JSON.stringify(time)}`;
  }
  return undefined;
}
