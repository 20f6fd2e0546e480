import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { connect, type JetStreamManager, type NatsConnection } from "nats";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { followLog } from "../../src/tx-log/follow-log.ts";
import { type NatsTxLogOptions, openNatsTxLog } from "../../src/tx-log/nats-tx-log.ts";
import type { TxLog } from "../../src/tx-log/tx-log.ts";
import { type NatsTestServer, startNatsServer } from "../../testing/nats-server.ts";
import { bytes, takeMessages, text } from "../../testing/tx-log-suite.ts";

/** Stands between client and server. Muted, it drops what the server says; a cut ends the connections and unmutes. */
async function startMutableProxy(target: number) {
  const sockets = new Set<Socket>();
  let muted = false;
  const cut = (): void => {
    muted = false;
    for (const socket of sockets) socket.destroy();
  };
  const listener = createServer((near) => {
    const far = createConnection(target, "127.0.0.1");
    near.on("data", (data) => far.write(data));
    far.on("data", (data) => muted || near.write(data));
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const address = listener.address();
  return {
    port: typeof address === "object" ? address?.port : undefined,
    mute: (): void => {
      muted = true;
    },
    cut,
    close: async (): Promise<void> => {
      cut();
      listener.close();
      await once(listener, "close");
    },
  };
}

describe("a log on NATS", () => {
  let server: NatsTestServer;
  let client: NatsConnection;
  let manager: JetStreamManager;
  let streams = 0;
  let stream = "";
  let stop: AbortController;
  const logs: TxLog[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
    client = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    manager = await client.jetstreamManager();
  });
  afterAll(async () => {
    await client.close();
    await server.close();
  });
  beforeEach(() => {
    streams += 1;
    stream = `faults-${streams}`;
    stop = new AbortController();
  });
  afterEach(async () => {
    stop.abort();
    for (const log of logs.splice(0)) await log.close();
  });

  const open = async (options: Partial<NatsTxLogOptions> = {}): Promise<TxLog> => {
    const log = await openNatsTxLog({ servers: server.url, stream, ...options });
    logs.push(log);
    await log.create(bytes);
    return log;
  };

  /** Reads arrays until the reading ends; answers how many messages came. */
  const readToEnd = async (
    log: TxLog,
    from: number,
    onArray: (read: number) => Promise<void>,
  ): Promise<number> => {
    let read = 0;
    for await (const messages of log.read(from, { signal: stop.signal })) {
      read += messages.length;
      await onArray(read);
    }
    return read;
  };

  /** How many messages the stream's only consumer was given. */
  const delivered = async (): Promise<number> => {
    const [consumer] = await manager.consumers.list(stream).next();
    return consumer?.delivered.consumer_seq ?? 0;
  };

  it("loses and doubles nothing when the server is killed again and again under writers and a reader", async () => {
    const log = await open({ maxInflight: 100 });
    const reader = await open();
    const seen: string[] = [];
    const following = (async () => {
      for await (const messages of followLog(reader, { signal: stop.signal, maxBackoffMs: 50 })) {
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
      await expect.poll(() => positions.size, { timeout: 20_000 }).toBeGreaterThan(before + 500);
      await server.kill();
      await server.start();
    }
    const before = positions.size;
    await expect.poll(() => positions.size, { timeout: 20_000 }).toBeGreaterThan(before + 500);
    done.abort();
    await writers;
    const { last } = await log.bounds();
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(last);
    stop.abort();
    await following;
    // Every acknowledged message is where it was said to be, and there is nothing besides them and the birth record.
    expect(last).toBe(positions.size + 1);
    for (const [name, position] of positions) expect(seen[position - 1]).toBe(name);
  });

  it("stores once what the server acknowledged into a connection that broke", async () => {
    const proxy = await startMutableProxy(server.port);
    const log = await open({ servers: `nats://127.0.0.1:${proxy.port}` });
    await log.append(bytes("known"));
    proxy.mute();
    const names = Array.from({ length: 50 }, (_, n) => `message ${n}`);
    const appending = Promise.all(names.map((name) => log.append(bytes(name))));
    await expect.poll(async () => (await manager.streams.info(stream)).state.last_seq).toBe(52);
    proxy.cut();
    expect(await appending).toEqual(names.map((_, n) => ({ position: n + 3, duplicate: false })));
    expect(await log.bounds()).toEqual({ first: 1, last: 52 });
    await log.close();
    await proxy.close();
  });

  it("keeps the order of the calls with a small window", async () => {
    const log = await open({ maxInflight: 7 });
    const appended = await Promise.all(Array.from({ length: 1_000 }, (_, n) => log.append(bytes(`${n}`))));
    expect(appended.map(({ position }) => position)).toEqual(Array.from({ length: 1_000 }, (_, n) => n + 2));
  });

  it("gives up an append at its deadline when the server does not come back", async () => {
    const other = await startNatsServer();
    const log = await open({ servers: other.url, appendDeadlineMs: 300 });
    await other.kill();
    await expect(log.append(bytes("one"))).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(log.bounds()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(log.exists()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await other.close();
  });

  it("says that the log is full when the stream's limit is reached, and goes on when it is raised", async () => {
    const log = await open();
    await manager.streams.update(stream, { max_msgs: 2 });
    await log.append(bytes("one"));
    await expect(log.append(bytes("two"))).rejects.toMatchObject({ code: "LOG_FULL" });
    await manager.streams.update(stream, { max_msgs: -1, max_bytes: 400 });
    await expect(log.append(new Uint8Array(1_000))).rejects.toMatchObject({ code: "LOG_FULL" });
    await manager.streams.update(stream, { max_bytes: -1 });
    expect(await log.append(bytes("two"))).toEqual({ position: 3, duplicate: false });
  });

  it("says that a message is too large for the stream", async () => {
    const log = await open();
    await manager.streams.update(stream, { max_msg_size: 1_000 });
    await expect(log.append(new Uint8Array(2_000))).rejects.toMatchObject({ code: "TX_TOO_LARGE" });
    expect(await log.append(bytes("small"))).toEqual({ position: 2, duplicate: false });
  });

  it("ends a reading whose consumer was removed", async () => {
    const log = await open();
    const read = await readToEnd(log, 1, async () => {
      const [consumer] = await manager.consumers.list(stream).next();
      await manager.consumers.delete(stream, consumer?.name ?? "");
    });
    expect(read).toBe(1);
  });

  it("ends a reading whose stream was deleted, and is unreachable rather than empty afterwards", async () => {
    const log = await open();
    const read = await readToEnd(log, 1, async () => {
      await manager.streams.delete(stream);
    });
    expect(read).toBe(1);
    await expect(log.bounds()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(log.fetch(1)).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    await expect(takeMessages(log, 1, 1)).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
    expect(await log.exists()).toBe(false);
  });

  it("notices that the stream was deleted and made again with other messages before it yields one of them", async () => {
    const log = await open();
    for (let n = 2; n <= 5; n += 1) await log.append(bytes(`old ${n}`));
    const seen: string[] = [];
    const following = (async () => {
      for await (const messages of followLog(log, {
        signal: stop.signal,
        maxBackoffMs: 50,
        idleCheckMs: 50,
      })) {
        seen.push(...messages.map((message) => text(message) ?? ""));
        if (seen.length < 5) continue;
        await manager.streams.delete(stream);
        const other = await open();
        for (let n = 2; n <= 8; n += 1) await other.append(bytes(`new ${n}`));
      }
    })();
    await expect(following).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    expect(seen.slice(1)).toEqual(["old 2", "old 3", "old 4", "old 5"]);
  });

  it("begins later, and is followed no further, when what was asked for was trimmed", async () => {
    const log = await open();
    for (let n = 2; n <= 9; n += 1) await log.append(bytes(`${n}`));
    await manager.streams.purge(stream, { seq: 5 });
    expect(await log.bounds()).toEqual({ first: 5, last: 9 });
    expect((await takeMessages(log, 2, 5)).map(({ position }) => position)).toEqual([5, 6, 7, 8, 9]);
    const following = followLog(log, { signal: stop.signal }).next();
    await expect(following).rejects.toMatchObject({ code: "LOG_TRIMMED", message: /messages 1 to 4/ });
  });

  it("removes its consumer when a reading ends, however it ends", async () => {
    const log = await open();
    await takeMessages(log, 1, 1);
    await readToEnd(log, 1, async () => stop.abort());
    await expect.poll(async () => (await manager.streams.info(stream)).state.consumer_count).toBe(0);
  });

  it("takes no more than a few arrays ahead of a slow reader", async () => {
    const log = await open();
    await Promise.all(Array.from({ length: 2_000 }, () => log.append(new Uint8Array(100))));
    const reading = log.read(1, { signal: stop.signal, maxMessages: 100 })[Symbol.asyncIterator]();
    await reading.next();
    await expect.poll(delivered).toBeGreaterThanOrEqual(200);
    const ahead = await delivered();
    await client.flush();
    expect(await delivered()).toBe(ahead);
    expect(ahead).toBeLessThanOrEqual(300);
    await reading.return?.(undefined);
  });

  it("goes on with the same consumer when pulls expire", async () => {
    const log = await open({ pullTiming: { expiresMs: 250, heartbeatMs: 100 } });
    const pulls: string[] = [];
    const spy = client.subscribe(`$JS.API.CONSUMER.MSG.NEXT.${stream}.>`, {
      callback: (_, { subject }) => pulls.push(subject),
    });
    await client.flush();
    const read = await readToEnd(log, 1, async (soFar) => {
      if (soFar > 3) return stop.abort();
      const before = pulls.length;
      await expect.poll(() => pulls.length).toBeGreaterThan(before + 2);
      await log.append(bytes("next"));
    });
    spy.unsubscribe();
    expect(read).toBe(4);
    expect(new Set(pulls).size).toBe(1);
  });

  it("ends a reading when the server falls silent without closing the connection", async () => {
    const proxy = await startMutableProxy(server.port);
    const options = {
      servers: `nats://127.0.0.1:${proxy.port}`,
      pullTiming: { expiresMs: 400, heartbeatMs: 100 },
    };
    const log = await open(options);
    const read = await readToEnd(log, 1, async () => proxy.mute());
    expect(read).toBe(1);
    await log.close();
    await proxy.close();
  });

  it("hands out a message within milliseconds of its being stored", async () => {
    const log = await open();
    const delays: number[] = [];
    let appendedAt = 0;
    await readToEnd(log, 1, async (read) => {
      if (read > 1) delays.push(performance.now() - appendedAt);
      if (read > 30) return stop.abort();
      appendedAt = performance.now();
      void log.append(bytes("next"));
    });
    const median = delays.toSorted((a, b) => a - b)[Math.floor(delays.length / 2)];
    expect(delays).toHaveLength(30);
    expect(median).toBeLessThan(20);
  });
});
