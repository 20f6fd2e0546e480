// @module-tag nats
import { setImmediate as nextTurn } from "node:timers/promises";
import type { CairnError } from "@cairn/kv";
import { describe, expect, it, vi } from "vitest";
import { AppendSequence, type TxLog } from "@cairn/engine";
import { followLog } from "@cairn/engine/src/log/follow-log";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { bytes, takeMessages, text } from "@cairn/engine/testing";
import { startNatsServer } from "../testing/nats-server.ts";
import { startMutableProxy } from "@cairn/test-support/links/mutable-proxy";
import { NatsFixture } from "@cairn/test-support/nodes/nats-fixture";

const PATIENT = { timeout: 25_000 };
const BRIEFLY = { timeoutMs: 1_000 };

/** The server's answer to a request for a message that it does not have (nats-server/server/errors.json). */
const NO_MESSAGE = { code: 404, err_code: 10_037, description: "no message found" };

describe("a writer to a log on NATS", () => {
  const nats = new NatsFixture();

  it(
    "loses and duplicates nothing when the server is repeatedly killed under writers and a reader",
    { tags: "rest/slow" },
    async () => {
      const log = await nats.open({ maxInflight: 100 });
      const reader = await nats.open();
      const seen: string[] = [];
      const following = (async () => {
        for await (const messages of followLog(reader, { signal: nats.stop.signal, maxBackoffMs: 50 })) {
          seen.push(...messages.map((message) => text(message) ?? ""));
        }
      })();
      const positions = new Map<string, number>();
      const done = new AbortController();
      const write = async (writer: number): Promise<void> => {
        for (let n = 0; !done.signal.aborted; n += 1) {
          const name = `writer ${writer} message ${n}`;
          const { position } = await log.append(bytes(name), n % 2 === 0 ? {} : { messageId: name });
          positions.set(name, position);
        }
      };
      const writers = Promise.all(Array.from({ length: 200 }, (_, n) => write(n)));
      for (let round = 0; round < 4; round += 1) {
        const before = positions.size;
        await expect.poll(() => positions.size, { timeout: 30_000 }).toBeGreaterThan(before + 500);
        await nats.server.kill();
        await nats.server.start();
      }
      const before = positions.size;
      await expect.poll(() => positions.size, { timeout: 30_000 }).toBeGreaterThan(before + 500);
      done.abort();
      await writers;
      const { last } = await log.bounds();
      await expect.poll(() => seen.length, { timeout: 30_000 }).toBe(last);
      nats.stop.abort();
      await following;
      // Every acknowledged message is at its position, and the log contains only these and the birth record.
      expect(last).toBe(positions.size + 1);
      for (const [name, position] of positions) expect(seen[position - 1]).toBe(name);
    },
  );

  it("stores a message only once if its acknowledgement was lost with the connection", async () => {
    const proxy = await startMutableProxy(nats.server.port);
    const log = await nats.open({ servers: `nats://127.0.0.1:${proxy.port}` });
    await log.append(bytes("known"));
    proxy.mute();
    const names = Array.from({ length: 50 }, (_, n) => `message ${n}`);
    const appending = Promise.all(names.map((name) => log.append(bytes(name))));
    await expect.poll(async () => (await nats.manager.streams.info(nats.stream)).state.last_seq).toBe(52);
    proxy.cut();
    expect(await appending).toEqual(names.map((_, n) => ({ position: n + 3, duplicate: false })));
    expect(await log.bounds()).toEqual({ first: 1, last: 52 });
    await log.close();
    await proxy.close();
  });

  it("does not send a message again after a suspension for longer than its id is remembered", async () => {
    const proxy = await startMutableProxy(nats.server.port);
    const log = await nats.open({ servers: `nats://127.0.0.1:${proxy.port}` });
    await log.append(bytes("known"));
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      proxy.mute();
      const appending = log.append(bytes("sent"));
      await expect.poll(async () => (await nats.manager.streams.info(nats.stream)).state.last_seq).toBe(3);
      // The clock of deadlines stands still during a suspension, and the system's clock does not.
      vi.setSystemTime(Date.now() + 180_000);
      proxy.cut();
      await expect(appending).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
      expect(await log.bounds()).toEqual({ first: 1, last: 3 });
    } finally {
      vi.useRealTimers();
    }
    await log.close();
    await proxy.close();
  });

  it("writes nothing to a stream that was created in place of its own while it retried", async () => {
    const log = await nats.open();
    await log.append(bytes("known"));
    await nats.manager.streams.delete(nats.stream);
    const names = Array.from({ length: 20 }, (_, n) => `message ${n}`);
    const appending = Promise.allSettled(names.map((name) => log.append(bytes(name))));
    // Messages are sent at the end of this turn. The server answers the question that follows them on the same
    // connection when it has reported for each that there are no responders, so all of them are being retried.
    await nextTurn();
    expect(await log.exists()).toBe(false);
    await nats.manager.streams.add({ name: nats.stream, subjects: [`${nats.stream}.tx`] });
    for (const outcome of await appending) {
      expect(outcome).toMatchObject({
        reason: { code: "LOG_UNREACHABLE", message: expect.stringContaining("created again") },
      });
    }
    expect((await nats.manager.streams.info(nats.stream)).state.last_seq).toBe(0);
    await log.create(bytes);
    expect(await log.append(bytes("first"))).toEqual({ position: 2, duplicate: false });
  });

  it("keeps the order of the calls even with a small window", async () => {
    const log = await nats.open({ maxInflight: 7 });
    const appended = await Promise.all(Array.from({ length: 1_000 }, (_, n) => log.append(bytes(`${n}`))));
    expect(appended.map(({ position }) => position)).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 2));
  });

  it("sends nothing that follows an abandoned message in a sequence", async () => {
    const proxy = await startMutableProxy(nats.server.port);
    const log = await nats.open({ servers: `nats://127.0.0.1:${proxy.port}`, maxInflight: 1 });
    const sequence = new AppendSequence();
    const [first, second] = [sequence.take(), sequence.take()];
    await log.append(bytes("before"));
    proxy.mute();
    const appended = Promise.allSettled([
      log.append(bytes("abandoned"), { place: first, timeoutMs: 300 }),
      log.append(bytes("behind it"), { place: second }),
      log.append(bytes("of another")),
    ]);
    await vi.waitFor(() => expect(second.failure()).toBeDefined());
    proxy.cut();
    const code = "LOG_UNREACHABLE";
    expect(await appended).toMatchObject([
      { reason: { code } },
      { reason: { code } },
      { status: "fulfilled" },
    ]);
    const stored = (await takeMessages(log, 3, 2)).map(text);
    expect(stored).toEqual(["abandoned", "of another"]);
    await proxy.close();
  });

  it("abandons an append at its deadline if the server is still unreachable", async () => {
    const other = await startNatsServer();
    const log = await nats.open({ servers: other.url, appendDeadlineMs: 300 });
    await other.kill();
    await expect(log.append(bytes("one"))).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(log.bounds()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(log.exists()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await other.close();
  });

  it("stops waiting for a response as soon as the connection over which it would come is lost", async () => {
    const proxy = await startMutableProxy(nats.server.port);
    const log = await nats.open({ servers: `nats://127.0.0.1:${proxy.port}` });
    const events: string[] = [];
    const restored = new Promise<void>((resolve) => {
      log.onRestored?.(() => {
        events.push("restored");
        resolve();
      });
    });
    proxy.mute();
    const refused = [log.bounds(), log.fetch(1)].map(async (request) => {
      const { code } = await request.then(() => ({ code: "none" })).catch((error: CairnError) => error);
      events.push(code);
    });
    proxy.cut();
    await Promise.all([...refused, restored]);
    expect(events).toEqual(["LOG_UNREACHABLE", "LOG_UNREACHABLE", "restored"]);
    expect(await log.bounds()).toEqual({ first: 1, last: 1 });
    await log.close();
    await proxy.close();
  });

  // A connection first subscribes to acknowledgements (1), and then to the responses to all requests (2).
  it.each([
    [1, "an append is acknowledged", async (log: TxLog) => await log.append(bytes("one"))],
    [
      1,
      "one that waits briefly is acknowledged",
      async (log: TxLog) => await log.append(bytes("one"), BRIEFLY),
    ],
    [2, "requests are answered", async (log: TxLog) => await log.bounds()],
  ])(
    "subscribes anew to what was lost when it reconnected (%i), so that %s",
    { tags: "rest/slow" },
    async (subscription, _what, use) => {
      const proxy = await startMutableProxy(nats.server.port);
      const servers = `nats://127.0.0.1:${proxy.port}`;
      const log = await nats.open({ servers, appendDeadlineMs: 12_000 });
      await log.append(bytes("known"));
      const restored = new Promise<void>((resolve) => log.onRestored?.(resolve));
      const swallowed = proxy.swallow(new RegExp(`SUB _INBOX\\.\\S+ ${subscription}\r\n`));
      proxy.cut();
      await Promise.all([swallowed, restored]);
      await vi.waitFor(async () => await use(log), PATIENT);
      await log.close();
      await proxy.close();
    },
  );

  it("keeps the connection while the server responds to no request", { tags: "rest/slow" }, async () => {
    // Requests for this domain reach the server through the test, which loses them at first.
    let isLost = true;
    const relay = nats.client.subscribe("$JS.silent.API.>", {
      callback: (_error, { subject, data, reply = "" }) => {
        if (!isLost) nats.client.publish(subject.replace(".silent", ""), data, { reply });
      },
    });
    const log = await openNatsTxLog({ servers: nats.server.url, stream: nats.stream, domain: "silent" });
    let reconnections = 0;
    log.onRestored?.(() => (reconnections += 1));
    // The first timeout begins a look for lost responses, which ends before the second one.
    for (let n = 0; n < 3; n += 1) await expect(log.exists()).rejects.toThrow("TIMEOUT");
    isLost = false;
    expect(await log.exists()).toBe(false);
    expect(reconnections).toBe(0);
    await log.close();
    relay.unsubscribe();
  });

  it("reports a full log when the stream's limit is reached, and continues when the limit is raised", async () => {
    const log = await nats.open();
    await nats.manager.streams.update(nats.stream, { max_msgs: 2 });
    await log.append(bytes("one"));
    await expect(log.append(bytes("two"))).rejects.toMatchObject({ code: "LOG_FULL" });
    await nats.manager.streams.update(nats.stream, { max_msgs: -1, max_bytes: 400 });
    await expect(log.append(new Uint8Array(1_000))).rejects.toMatchObject({ code: "LOG_FULL" });
    await nats.manager.streams.update(nats.stream, { max_bytes: -1 });
    expect(await log.append(bytes("two"))).toEqual({ position: 3, duplicate: false });
  });

  it("asks again for a message that the server reported as missing, because the server may only have failed to read it", async () => {
    // Requests for this domain reach the server through the test, which answers the first one for a message itself.
    let requests = 0;
    const relay = nats.client.subscribe("$JS.relayed.API.>", {
      callback: (_error, { subject, data, reply = "" }) => {
        const isFetch = subject.includes(".STREAM.MSG.GET.");
        if (isFetch) requests += 1;
        if (isFetch && requests === 1) nats.client.publish(reply, JSON.stringify({ error: NO_MESSAGE }));
        else nats.client.publish(subject.replace(".relayed", ""), data, { reply });
      },
    });
    await nats.open();
    const log = await openNatsTxLog({ servers: nats.server.url, stream: nats.stream, domain: "relayed" });
    try {
      expect((await log.fetch(1))?.position).toBe(1);
      expect(requests).toBe(2);
      // Outside the log's bounds, one answer suffices.
      expect(await log.fetch(2)).toBeUndefined();
      expect(requests).toBe(3);
    } finally {
      await log.close();
      relay.unsubscribe();
    }
  });

  it("reports a message that is too large for the stream", async () => {
    const log = await nats.open();
    await nats.manager.streams.update(nats.stream, { max_msg_size: 1_000 });
    await expect(log.append(new Uint8Array(2_000))).rejects.toMatchObject({ code: "TX_TOO_LARGE" });
    expect(await log.append(bytes("small"))).toEqual({ position: 2, duplicate: false });
  });
});
