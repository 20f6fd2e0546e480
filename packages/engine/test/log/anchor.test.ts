import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { anchorOf, checkAnchor, judgeAnchor } from "../../src/log/anchor.ts";
import { bytes } from "../../testing/log-messages.ts";

describe("an anchor", () => {
  const message = { position: 7, time: 1, payload: bytes("seven") };
  const anchor = anchorOf(message);

  it("consists of a position and the SHA-256 of the position, the time and the payload there", () => {
    const head = Buffer.alloc(16);
    head.writeBigUInt64BE(7n, 0);
    head.writeBigUInt64BE(1_000_000n, 8);
    const sha256 = createHash("sha256").update(head).update("seven").digest("hex");
    expect(anchorOf(message)).toEqual({ position: 7, sha256, time: 1 });
  });

  it.each([
    ["another position", { position: 8 }],
    ["another millisecond", { time: 2 }],
    ["another nanosecond", { nanoseconds: 1 }],
    ["another payload", { payload: bytes("eight") }],
  ])("differs for %s", (_, change) => {
    expect(anchorOf({ ...message, ...change }).sha256).not.toBe(anchor.sha256);
  });

  it("agrees with a log that holds its message", () => {
    expect(judgeAnchor("log", anchor, { first: 1, last: 9 }, message)).toBeUndefined();
    expect(judgeAnchor("log", anchor, { first: 7, last: 7 }, message)).toBeUndefined();
  });

  it.each([
    ["begins directly after it", { first: 8, last: 9 }],
    ["was emptied after it", { first: 8, last: 7 }],
    ["lacks only its message", { first: 1, last: 9 }],
    ["was emptied after a message of the same time", { first: 8, last: 7, lastTime: 1 }],
  ])("agrees with a log that %s, because nothing is missing", (_, bounds) => {
    expect(judgeAnchor("log", anchor, bounds, undefined)).toBeUndefined();
  });

  it("is refused if the log knows that it held another message there", () => {
    const bounds = { first: 8, last: 9 };
    expect(judgeAnchor("log", anchor, bounds, undefined, anchor.sha256)).toBeUndefined();
    const other = anchorOf({ ...message, time: 2 }).sha256;
    expect(judgeAnchor("log", anchor, bounds, undefined, other)).toMatchObject({ code: "LOG_REGRESSED" });
  });

  it.each([
    ["beyond the end of the log", { first: 1, last: 6 }, undefined, "LOG_REGRESSED", "ends at message 6"],
    ["in a log without messages", { first: 1, last: 0 }, undefined, "LOG_REGRESSED", "ends at message 0"],
    [
      "where a different message is",
      { first: 1, last: 9 },
      { ...message, payload: bytes("other") },
      "LOG_REGRESSED",
      "Message 7",
    ],
    ["long before the first message", { first: 10, last: 9 }, undefined, "LOG_TRIMMED", "messages 8 to 9"],
    ["before a missing message", { first: 9, last: 9 }, undefined, "LOG_TRIMMED", "message 8"],
    [
      "where a later message was removed",
      { first: 8, last: 7, lastTime: 2 },
      undefined,
      "LOG_REGRESSED",
      "Message 7",
    ],
    ["in a log that was emptied before it", { first: 7, last: 6 }, undefined, "LOG_REGRESSED", "message 6"],
  ] as const)("is refused %s", (_, bounds, found, code, words) => {
    const error = judgeAnchor("log", anchor, bounds, found);
    expect(error).toMatchObject({ code });
    expect(error?.message).toContain(words);
    expect(error?.hint).toBeTruthy();
  });

  it.each([
    [
      "is of another history if the log grows beyond its position while it is compared",
      "other",
      "LOG_REGRESSED",
    ],
    ["agrees with a log whose server left its message out once", "seven", undefined],
    ["agrees with a log that has nothing there afterwards either", undefined, undefined],
  ] as const)("%s", async (_, written, code) => {
    const answers = [undefined, written === undefined ? undefined : { ...message, payload: bytes(written) }];
    const log = {
      name: "log",
      fetch: () => Promise.resolve(answers.shift()),
      bounds: () => Promise.resolve({ first: 1, last: 9 }),
    };
    expect((await checkAnchor(log, anchor))?.code).toBe(code);
    expect(answers).toEqual([]);
  });
});
