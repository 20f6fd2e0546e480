import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TxLog } from "../src/log/tx-log.ts";
import { bytes, takeMessages, text } from "./log-messages.ts";

/**
 * The functions that the conformance suite needs from an implementation. `close` must remove everything that the
 * harness created.
 */
export interface TxLogHarness {
  /** Opens the log. Another call, while the first log is open or after it was closed, opens the same log. */
  open(): Promise<TxLog>;
  close(): Promise<void>;
}

/** Tests the contract of {@link TxLog}. The test of an implementation calls this function with a harness. */
export function describeTxLog(name: string, start: () => Promise<TxLogHarness>): void {
  describe(`${name} as a transaction log`, () => {
    let harness: TxLogHarness;
    let log: TxLog;

    beforeEach(async () => {
      harness = await start();
      log = await harness.open();
    });

    afterEach(async () => {
      await log.close();
      await harness.close();
    });

    const create = (): Promise<void> => log.create((id) => bytes(`birth of ${id}`));

    it("does not exist before it is created, and reports that without creating it", async () => {
      expect(await log.exists()).toBe(false);
      expect(await log.id()).toBeUndefined();
      await expect(log.bounds()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
      expect(await log.exists()).toBe(false);
    });

    it("begins with the birth record that names its id", async () => {
      await create();
      const id = await log.id();
      expect(id).toMatch(/^[0-9a-f-]{36}$/);
      expect(await log.exists()).toBe(true);
      expect(await log.bounds()).toEqual({ first: 1, last: 1 });
      expect(text(await log.fetch(1))).toBe(`birth of ${id}`);
    });

    it("writes one birth record however often it is created", async () => {
      await Promise.all([create(), create(), create()]);
      await create();
      expect(await log.bounds()).toEqual({ first: 1, last: 1 });
    });

    it("returns positions in the order of the calls", async () => {
      await create();
      const appended = await Promise.all(
        Array.from({ length: 500 }, (_, n) => log.append(bytes(`message ${n}`))),
      );
      expect(appended.map(({ position }) => position)).toEqual(Array.from({ length: 500 }, (_, n) => n + 2));
      expect(appended.every(({ duplicate }) => !duplicate)).toBe(true);
      const messages = await takeMessages(log, 2, 500);
      expect(messages.map(text)).toEqual(Array.from({ length: 500 }, (_, n) => `message ${n}`));
    });

    it("gives each message the time at which it was stored", async () => {
      await create();
      const before = Date.now() - 1;
      const { position } = await log.append(bytes("now"));
      const message = await log.fetch(position);
      expect(message?.time).toBeGreaterThanOrEqual(before);
      expect(message?.time).toBeLessThanOrEqual(Date.now() + 1);
      expect(Number.isInteger(message?.time)).toBe(true);
      expect((await takeMessages(log, position, 1))[0]?.time).toBe(message?.time);
    });

    it("stores a message id once, even for concurrent calls", async () => {
      await create();
      const [first, second] = await Promise.all([
        log.append(bytes("one"), { messageId: "id 1" }),
        log.append(bytes("another"), { messageId: "id 1" }),
      ]);
      const third = await log.append(bytes("one more"), { messageId: "id 1" });
      expect([first, second, third]).toEqual([
        { position: 2, duplicate: false },
        { position: 2, duplicate: true },
        { position: 2, duplicate: true },
      ]);
      expect(await log.append(bytes("other"), { messageId: "id 2" })).toEqual({
        position: 3,
        duplicate: false,
      });
      expect(text(await log.fetch(2))).toBe("one");
    });

    it("accepts any string as a message id", async () => {
      await create();
      for (const [n, messageId] of ["a b", "a\r\nb", "ä€", " a", "a", "x".repeat(500)].entries()) {
        expect(await log.append(bytes("x"), { messageId })).toEqual({ position: n + 2, duplicate: false });
        expect(await log.append(bytes("x"), { messageId })).toEqual({ position: n + 2, duplicate: true });
      }
    });

    it("keeps messages, positions and id when it is reopened", async () => {
      await create();
      const id = await log.id();
      await log.append(bytes("one"));
      await log.close();
      log = await harness.open();
      expect(await log.id()).toBe(id);
      expect(await log.append(bytes("two"))).toEqual({ position: 3, duplicate: false });
      expect((await takeMessages(log, 2, 2)).map(text)).toEqual(["one", "two"]);
    });

    it("stores empty and large payloads byte for byte", async () => {
      await create();
      const large = Uint8Array.from({ length: Math.min(log.maxPayload, 700_000) }, (_, n) => n % 251);
      await log.append(new Uint8Array(0));
      await log.append(large);
      const messages = await takeMessages(log, 2, 2);
      expect(messages.map(({ payload }) => payload.length)).toEqual([0, large.length]);
      expect(Buffer.compare(messages[1]?.payload ?? new Uint8Array(0), large)).toBe(0);
      expect(Buffer.compare((await log.fetch(3))?.payload ?? new Uint8Array(0), large)).toBe(0);
    });

    it("refuses a payload above its limit and remains usable", async () => {
      await create();
      await expect(log.append(new Uint8Array(log.maxPayload + 1))).rejects.toMatchObject({
        code: "TX_TOO_LARGE",
      });
      expect(await log.append(bytes("small"))).toEqual({ position: 2, duplicate: false });
    });

    it("has no message outside its bounds", async () => {
      await create();
      expect(await log.fetch(2)).toBeUndefined();
      expect(await log.fetch(1_000_000)).toBeUndefined();
    });

    it("passes later messages to a waiting reader", async () => {
      await create();
      const reading = takeMessages(log, 2, 3);
      for (const word of ["one", "two", "three"]) await log.append(bytes(word));
      expect((await reading).map(text)).toEqual(["one", "two", "three"]);
    });

    it("limits its arrays by count and by bytes", async () => {
      await create();
      await Promise.all(Array.from({ length: 100 }, () => log.append(new Uint8Array(1_000))));
      for (const [options, most] of [
        [{ maxMessages: 7 }, 7],
        [{ maxBytes: 10_000 }, 15],
      ] as const) {
        const stop = new AbortController();
        const sizes: number[] = [];
        for await (const array of log.read(2, { signal: stop.signal, ...options })) {
          sizes.push(array.length);
          if (sizes.reduce((sum, size) => sum + size, 0) >= 100) break;
        }
        expect(Math.min(...sizes)).toBeGreaterThan(0);
        expect(Math.max(...sizes)).toBeLessThanOrEqual(most);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(100);
      }
    });

    it("returns a message larger than the limits of an array alone", async () => {
      await create();
      await log.append(new Uint8Array(200_000));
      await log.append(bytes("after"));
      const stop = new AbortController();
      const lengths: number[] = [];
      for await (const array of log.read(2, { signal: stop.signal, maxBytes: 1_000 })) {
        lengths.push(...array.map(({ payload }) => payload.length));
        if (lengths.length >= 2) break;
      }
      expect(lengths).toEqual([200_000, 5]);
    });

    it("ends a reading immediately if it begins beyond the log's end", async () => {
      await create();
      const arrays: unknown[] = [];
      for await (const array of log.read(3, { signal: new AbortController().signal })) arrays.push(array);
      expect(arrays).toEqual([]);
    });

    it("ends a waiting reader on abort, and a reader that is aborted before it begins", async () => {
      await create();
      const stop = new AbortController();
      const reading = (async () => {
        for await (const array of log.read(1, { signal: stop.signal })) if (array.length > 0) stop.abort();
        return "ended";
      })();
      expect(await reading).toBe("ended");
      for await (const array of log.read(1, { signal: stop.signal })) expect(array).toBeUndefined();
    });

    it("ends waiting readers and refuses every call when it is closed", async () => {
      await create();
      const reading = (async () => {
        for await (const array of log.read(1, { signal: new AbortController().signal })) {
          if (array.length > 0) await log.close();
        }
        return "ended";
      })();
      expect(await reading).toBe("ended");
      await log.close();
      for (const call of [
        () => log.id(),
        () => log.exists(),
        () => log.create(() => bytes("")),
        () => log.append(bytes("")),
        () => log.bounds(),
        () => log.fetch(1),
        () => takeMessages(log, 1, 1),
      ]) {
        await expect(call()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
      }
    });

    it("serves several readers concurrently, each from its own position", async () => {
      await create();
      await Promise.all(Array.from({ length: 50 }, (_, n) => log.append(bytes(`${n}`))));
      const positions = await Promise.all(
        [1, 10, 51].map(async (from) =>
          (await takeMessages(log, from, 52 - from)).map(({ position }) => position),
        ),
      );
      for (const [index, from] of [1, 10, 51].entries()) {
        expect(positions[index]).toEqual(Array.from({ length: 52 - from }, (_, n) => from + n));
      }
    });
  });
}
