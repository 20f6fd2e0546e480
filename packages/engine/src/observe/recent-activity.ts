import type { Activity } from "@cairn/client";
import type { Logger } from "pino";

/** The maximum number of items that a node remembers, and the maximum length of a message or a hint. */
const MAX_ITEMS = 500;
const MAX_LENGTH = 4_000;

const LEVELS = ["info", "warn", "error"] as const;

/** Fields that differ between lines about the same thing. */
const VARYING = new Set(["run", "ms", "bytes"]);

type Fields = Readonly<Record<string, unknown>>;

/** What happened on a node lately: the lines of its log, without those about requests. */
export class RecentActivity {
  /** Oldest first. */
  readonly #items: { activity: Activity; readonly sameness: string }[] = [];
  readonly #now: () => Date;
  #nextId = 1;

  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
  }

  /** Returns a logger that passes everything on to `logger`, and also remembers the lines, whatever the level of `logger` is. */
  tap(logger: Logger): Logger {
    const tapped = Object.create(logger) as Logger;
    for (const level of LEVELS) {
      const write = (first: unknown, ...others: unknown[]): void => {
        const [fields, message] = typeof first === "string" ? [{}, first] : [first as Fields, others[0]];
        this.#note(level, fields, String(message ?? ""));
        (logger[level] as (...line: unknown[]) => void)(first, ...others);
      };
      tapped[level] = write;
    }
    return tapped;
  }

  newest(limit: number): Activity[] {
    return this.#items
      .slice(-limit)
      .map(({ activity }) => activity)
      .toReversed();
  }

  #note(level: Activity["level"], fields: Fields, line: string): void {
    const { code, hint, ms, bytes, name, err } = fields;
    // Lines about checkpoints have their names as a field.
    const about = typeof name === "string" && !line.includes(name) ? ` (${name})` : "";
    const cause = err instanceof Error ? ` ${err.message}` : "";
    const message = `${line}${about}${cause}`.slice(0, MAX_LENGTH);
    const activity = {
      id: this.#nextId,
      at: this.#now().toISOString(),
      level,
      message,
      code: textOr(code),
      hint: textOr(hint),
      durationMs: amountOr(ms),
      bytes: amountOr(bytes),
      times: 1,
    };
    const sameness = JSON.stringify([level, message, ...plainFields(fields)]);
    const last = this.#items.at(-1);
    if (last?.sameness === sameness) {
      const { id, times } = last.activity;
      last.activity = { ...activity, id, times: times + 1 };
      return;
    }
    this.#nextId += 1;
    this.#items.push({ activity, sameness });
    if (this.#items.length > MAX_ITEMS) this.#items.shift();
  }
}

function plainFields(fields: Fields): unknown[] {
  return Object.entries(fields).filter(
    ([name, value]) => !VARYING.has(name) && (typeof value === "string" || typeof value === "number"),
  );
}

function textOr(value: unknown): string | null {
  return typeof value === "string" ? value.slice(0, MAX_LENGTH) : null;
}

function amountOr(value: unknown): number | null {
  return typeof value === "number" && value >= 0 ? value : null;
}
