// @module-tag nats
import { describe, expect, it } from "vitest";
import { followLog } from "@cairn/engine/src/log/follow-log";
import type { TxLog } from "@cairn/engine";
import { bytes, takeMessages, text } from "@cairn/engine/testing";
import { startMutableProxy } from "@cairn/test-support/links/mutable-proxy";
import { NatsFixture } from "@cairn/test-support/nodes/nats-fixture";

describe("a reader of a log on NATS", () => {
  const nats = new NatsFixture();

  /** Reads arrays until the reading ends. Returns the number of messages. */
  const readToEnd = async (
    log: TxLog,
    from: number,
    onArray: (read: number) => Promise<void>,
  ): Promise<number> => {
    let read = 0;
    for await (const messages of log.read(from, { signal: nats.stop.signal })) {
      read += messages.length;
      await onArray(read);
    }
    return read;
  };

  /** Returns the number of messages that were delivered to the stream's only consumer. */
  const delivered = async (): Promise<number> => {
    const [consumer] = await nats.manager.consumers.list(nats.stream).next();
    return consumer?.delivered.consumer_seq ?? 0;
  };

  it("ends a reading whose consumer was removed", async () => {
    const log = await nats.open();
    const read = await readToEnd(log, 1, async () => {
      const [consumer] = await nats.manager.consumers.list(nats.stream).next();
      await nats.manager.consumers.delete(nats.stream, consumer?.name ?? "");
    });
    expect(read).toBe(1);
  });

  it("ends a reading whose stream was deleted, and is unreachable rather than empty afterwards", async () => {
    const log = await nats.open();
    const read = await readToEnd(log, 1, async () => {
      await nats.manager.streams.delete(nats.stream);
    });
    expect(read).toBe(1);
    await expect(log.bounds()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(log.fetch(1)).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(takeMessages(log, 1, 1)).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    expect(await log.exists()).toBe(false);
  });

  it("detects that the stream was deleted and created again before it yields a message of the new stream", async () => {
    const log = await nats.open();
    for (let n = 2; n <= 5; n += 1) await log.append(bytes(`old ${n}`));
    const seen: string[] = [];
    const following = (async () => {
      for await (const messages of followLog(log, {
        signal: nats.stop.signal,
        maxBackoffMs: 50,
        idleCheckMs: 50,
      })) {
        seen.push(...messages.map((message) => text(message) ?? ""));
        if (seen.length < 5) continue;
        await nats.manager.streams.delete(nats.stream);
        const other = await nats.open();
        for (let n = 2; n <= 8; n += 1) await other.append(bytes(`new ${n}`));
      }
    })();
    await expect(following).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    expect(seen.slice(1)).toEqual(["old 2", "old 3", "old 4", "old 5"]);
  });

  it("begins later, and stops following the log, if the requested messages were trimmed", async () => {
    const log = await nats.open();
    for (let n = 2; n <= 9; n += 1) await log.append(bytes(`${n}`));
    await nats.manager.streams.purge(nats.stream, { seq: 5 });
    expect(await log.bounds()).toEqual({ first: 5, last: 9 });
    expect((await takeMessages(log, 2, 5)).map(({ position }) => position)).toEqual([5, 6, 7, 8, 9]);
    const following = followLog(log, { signal: nats.stop.signal }).next();
    await expect(following).rejects.toMatchObject({ code: "LOG_TRIMMED", message: /messages 1 to 4/ });
  });

  it(
    "stops following the log when its last messages were deleted, and names them",
    { tags: "rest/slow" },
    async () => {
      const log = await nats.open();
      await nats.manager.streams.delete(nats.stream);
      // An operator creates the stream with settings that permit the deletion of single messages.
      await nats.manager.streams.add({ name: nats.stream, subjects: [`${nats.stream}.tx`] });
      for (let n = 1; n <= 9; n += 1) await log.append(bytes(`${n}`));
      for (const position of [7, 8, 9]) await nats.manager.streams.deleteMessage(nats.stream, position);
      const seen: number[] = [];
      const following = (async () => {
        const options = { signal: nats.stop.signal, idleCheckMs: 100, maxBackoffMs: 50 };
        for await (const messages of followLog(log, options)) {
          seen.push(...messages.map(({ position }) => position));
        }
      })();
      await expect(following).rejects.toMatchObject({ code: "LOG_GAP", message: /messages 7 to 9/ });
      expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
    },
  );

  it("removes its consumer at the end of a reading, however the reading ends", async () => {
    const log = await nats.open();
    await takeMessages(log, 1, 1);
    await readToEnd(log, 1, async () => nats.stop.abort());
    await expect
      .poll(async () => (await nats.manager.streams.info(nats.stream)).state.consumer_count)
      .toBe(0);
  });

  it("reads only a few arrays ahead of a slow reader", async () => {
    const log = await nats.open();
    await Promise.all(Array.from({ length: 2_000 }, () => log.append(new Uint8Array(100))));
    const reading = log.read(1, { signal: nats.stop.signal, maxMessages: 100 })[Symbol.asyncIterator]();
    await reading.next();
    await expect.poll(delivered).toBeGreaterThanOrEqual(200);
    for (let look = 0; look < 20; look += 1) expect(await delivered()).toBeLessThanOrEqual(300);
    await reading.return?.(undefined);
  });

  it("continues with the same consumer when pulls expire", { tags: "rest/slow" }, async () => {
    const log = await nats.open({ pullTiming: { expiresMs: 250, heartbeatMs: 100 } });
    const pulls: string[] = [];
    const spy = nats.client.subscribe(`$JS.API.CONSUMER.MSG.NEXT.${nats.stream}.>`, {
      callback: (_, { subject }) => pulls.push(subject),
    });
    await nats.client.flush();
    const read = await readToEnd(log, 1, async (soFar) => {
      if (soFar > 3) return nats.stop.abort();
      const before = pulls.length;
      await expect.poll(() => pulls.length).toBeGreaterThan(before + 2);
      await log.append(bytes("next"));
    });
    spy.unsubscribe();
    expect(read).toBe(4);
    expect(new Set(pulls).size).toBe(1);
  });

  it("ends a reading if the server becomes silent without closing the connection", async () => {
    const proxy = await startMutableProxy(nats.server.port);
    const options = {
      servers: `nats://127.0.0.1:${proxy.port}`,
      pullTiming: { expiresMs: 400, heartbeatMs: 100 },
    };
    const log = await nats.open(options);
    const read = await readToEnd(log, 1, async () => proxy.mute());
    expect(read).toBe(1);
    await log.close();
    await proxy.close();
  });

  it("yields a message when it is stored, not only when a pull ends", async () => {
    const log = await nats.open({ pullTiming: { expiresMs: 600_000, heartbeatMs: 60_000 } });
    const begun = performance.now();
    const read = await readToEnd(log, 1, async (soFar) => {
      if (soFar > 30) return nats.stop.abort();
      void log.append(bytes("next"));
    });
    expect(read).toBe(31);
    // If messages arrived only with heartbeats, each of the thirty would have taken at least one interval.
    expect(performance.now() - begun).toBeLessThan(60_000);
  });
});
