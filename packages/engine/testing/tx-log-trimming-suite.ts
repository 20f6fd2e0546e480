import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TxLog } from "../src/log/tx-log.ts";
import { bytes, takeMessages, text } from "./log-messages.ts";
import type { TxLogHarness } from "./tx-log-suite.ts";

/** Begins a log before each test and closes it afterwards. */
function begunLog(start: () => Promise<TxLogHarness>): { readonly current: TxLog; reopen(): Promise<void> } {
  let harness: TxLogHarness;
  let log: TxLog;

  beforeEach(async () => {
    harness = await start();
    log = await harness.open();
    await log.create((id) => bytes(`birth of ${id}`));
  });

  afterEach(async () => {
    await log.close();
    await harness.close();
  });

  return {
    get current() {
      return log;
    },
    async reopen() {
      await log.close();
      log = await harness.open();
    },
  };
}

/** Tests the contract of `trim`, for logs that have it. It is called with the same harness as {@link describeTxLog}. */
export function describeTrimming(name: string, start: () => Promise<TxLogHarness>): void {
  describe(`${name}, trimmed`, () => {
    const begun = begunLog(start);
    let log: TxLog;

    beforeEach(async () => {
      log = begun.current;
      for (let n = 2; n <= 10; n += 1) await log.append(bytes(`message ${n}`), { messageId: `id ${n}` });
    });

    const trim = async (upTo: number): Promise<void> => {
      if (log.trim === undefined) throw new Error("The log has no trim.");
      await log.trim(upTo);
    };

    it("keeps the message up to which it is trimmed, and all later ones, at their positions", async () => {
      await trim(6);
      expect(await log.bounds()).toEqual({ first: 6, last: 10 });
      for (const gone of [1, 3, 5]) expect(await log.fetch(gone)).toBeUndefined();
      expect(text(await log.fetch(6))).toBe("message 6");
      expect((await takeMessages(log, 6, 5)).map(({ position }) => position)).toEqual([6, 7, 8, 9, 10]);
    });

    it("yields only the remaining messages to a reader that requests trimmed ones", async () => {
      await trim(6);
      expect((await takeMessages(log, 1, 5)).map(text)[0]).toBe("message 6");
    });

    it("keeps its id and its bounds when it is reopened, and continues where it ended", async () => {
      const id = await log.id();
      await trim(10);
      await begun.reopen();
      log = begun.current;
      expect(await log.id()).toBe(id);
      expect(await log.exists()).toBe(true);
      expect(await log.bounds()).toEqual({ first: 10, last: 10 });
      expect(await log.append(bytes("next"))).toEqual({ position: 11, duplicate: false });
      expect((await takeMessages(log, 1, 2)).map(text)).toEqual(["message 10", "next"]);
    });

    it("still knows the ids of trimmed messages", async () => {
      await trim(6);
      expect(await log.append(bytes("again"), { messageId: "id 3" })).toEqual({
        position: 3,
        duplicate: true,
      });
    });

    it("never receives a second birth record", async () => {
      await trim(10);
      await log.create(() => bytes("another birth"));
      expect(await log.bounds()).toEqual({ first: 10, last: 10 });
    });

    it("can be trimmed again, and ignores a lower bound", async () => {
      await trim(4);
      await trim(7);
      await trim(2);
      expect(await log.bounds()).toEqual({ first: 7, last: 10 });
    });

    it("refuses to be trimmed beyond its end, and loses nothing", async () => {
      await expect(trim(11)).rejects.toMatchObject({ code: "CONFLICT" });
      expect(await log.bounds()).toEqual({ first: 1, last: 10 });
    });

    it("passes the remaining messages to an active reader", async () => {
      const reading = takeMessages(log, 8, 4);
      await trim(8);
      await log.append(bytes("message 11"));
      expect((await reading).map(text)).toEqual(["message 8", "message 9", "message 10", "message 11"]);
    });

    it("accepts appends while it is trimmed", async () => {
      const [appended] = await Promise.all([log.append(bytes("beside")), trim(9)]);
      expect(appended).toEqual({ position: 11, duplicate: false });
      expect(await log.bounds()).toEqual({ first: 9, last: 11 });
    });

    it("refuses to be trimmed once it is closed", async () => {
      await log.close();
      await expect(trim(5)).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    });
  });
}

/** Tests the contract of `removeUnused`, for logs that have it. */
export function describeRemoval(name: string, start: () => Promise<TxLogHarness>): void {
  describe(`${name}, removed before it was used`, () => {
    const begun = begunLog(start);
    let log: TxLog;

    beforeEach(() => {
      log = begun.current;
    });

    const remove = async (id: string | undefined): Promise<void> => {
      if (log.removeUnused === undefined || id === undefined) throw new Error("The log cannot be removed.");
      await log.removeUnused(id);
    };

    it("is removed with its id, and another log begins in its place", async () => {
      const id = await log.id();
      await remove(id);
      expect(await log.exists()).toBe(false);
      await log.create((another) => bytes(`birth of ${another}`));
      expect(await log.id()).not.toBe(id);
      expect(await log.append(bytes("message 2"))).toEqual({ position: 2, duplicate: false });
      await begun.reopen();
      log = begun.current;
      expect(text(await log.fetch(1))).toBe(`birth of ${await log.id()}`);
      expect(await log.bounds()).toEqual({ first: 1, last: 2 });
    });

    it("remains if it holds more than its birth record, or is another log", async () => {
      await expect(remove("another")).rejects.toMatchObject({ code: "CONFLICT" });
      await log.append(bytes("message 2"));
      await expect(remove(await log.id())).rejects.toMatchObject({ code: "CONFLICT" });
      expect((await takeMessages(log, 1, 2)).map(text)[1]).toBe("message 2");
    });
  });
}
