import { pino } from "pino";
import { expect, test } from "vitest";
import { RecentActivity } from "../../src/observe/recent-activity.ts";

test("lines of level info and above are remembered with their figures, whatever the level of the log is", () => {
  const written: string[] = [];
  const activity = new RecentActivity(() => new Date(0));
  const log = pino({ level: "error", base: null }, { write: (line: string) => void written.push(line) });
  const logger = activity.tap(log);
  logger.debug("not this");
  logger.info({ run: 1, name: "checkpoint-7", ms: 12, bytes: 34 }, "checkpoint saved");
  logger.warn({ code: "LOG_UNSAFE", hint: "Change it." }, "It loses messages.");
  logger.error({ err: new Error("It broke.") }, "a task failed");
  logger.error("only text");
  expect(activity.newest(10)).toEqual([
    item({ id: 4, level: "error", message: "only text" }),
    item({ id: 3, level: "error", message: "a task failed It broke." }),
    item({ id: 2, level: "warn", message: "It loses messages.", code: "LOG_UNSAFE", hint: "Change it." }),
    item({ id: 1, message: "checkpoint saved (checkpoint-7)", durationMs: 12, bytes: 34 }),
  ]);
  expect(activity.newest(1)).toMatchObject([{ id: 4 }]);
  expect(written).toHaveLength(2);
});

test("equal lines in succession are counted, and at most 500 items are kept", () => {
  let now = 0;
  const activity = new RecentActivity(() => new Date(now));
  const logger = activity.tap(pino({ level: "silent" }));
  for (now = 1; now <= 3; now += 1) logger.warn({ run: now, ms: now }, "again");
  logger.info({ name: "n1" }, "saved");
  logger.info({ name: "n2" }, "saved");
  expect(activity.newest(10)).toMatchObject([
    { id: 3, message: "saved (n2)" },
    { id: 2, message: "saved (n1)" },
    { id: 1, message: "again", times: 3, durationMs: 3, at: new Date(3).toISOString() },
  ]);
  for (let n = 0; n < 600; n += 1) logger.info(`line ${n}`);
  const kept = activity.newest(1_000);
  expect(kept).toHaveLength(500);
  expect(kept[0]).toMatchObject({ message: "line 599", id: 603 });
  logger.error("x".repeat(10_000));
  expect(activity.newest(1)[0]?.message).toHaveLength(4_000);
});

function item(parts: object): object {
  const nothing = { code: null, hint: null, durationMs: null, bytes: null };
  return { at: new Date(0).toISOString(), level: "info", ...nothing, times: 1, ...parts };
}
