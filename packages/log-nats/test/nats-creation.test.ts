// @module-tag nats
import { connect, type NatsConnection, RetentionPolicy, StorageType, type StreamConfig } from "nats";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import type { TxLog } from "@cairn/engine";
import { type NatsTestServer, startNatsServer } from "../testing/nats-server.ts";
import { bytes, text } from "@cairn/engine/testing";

describe("the creation of a log on NATS", () => {
  let server: NatsTestServer;
  let client: NatsConnection;
  let stream = "";
  let streams = 0;

  beforeAll(async () => {
    server = await startNatsServer();
    client = await connect({ servers: server.url });
  });
  afterAll(async () => {
    await client.close();
    await server.close();
  });
  beforeEach(() => {
    streams += 1;
    stream = `creation-${streams}`;
  });

  const configOf = async (): Promise<StreamConfig> =>
    (await (await client.jetstreamManager()).streams.info(stream)).config;

  const makeStream = async (config: Partial<StreamConfig>): Promise<void> => {
    const manager = await client.jetstreamManager();
    await manager.streams.add({ name: stream, subjects: [`${stream}.tx`], ...config });
  };

  const withLog = async <T>(use: (log: TxLog) => Promise<T>, options = {}): Promise<T> => {
    const log = await openNatsTxLog({ servers: server.url, stream, ...options });
    try {
      return await use(log);
    } finally {
      await log.close();
    }
  };

  it("creates a stream that never discards messages and contains the log's id", async () => {
    const id = await withLog(async (log) => {
      expect(await log.inspect?.()).toEqual([]);
      await log.create(bytes);
      expect(await log.inspect?.()).toEqual([]);
      return log.id();
    });
    expect(await configOf()).toMatchObject({
      subjects: [`${stream}.tx`],
      description: `cairn log id ${id}`,
      storage: "file",
      retention: "limits",
      discard: "new",
      max_msgs: -1,
      max_bytes: -1,
      max_age: 0,
      deny_delete: true,
      deny_purge: false,
      allow_rollup_hdrs: false,
      allow_direct: true,
      num_replicas: 1,
      duplicate_window: 120_000_000_000,
    });
  });

  it("writes one birth record, with one id, when sixteen nodes start simultaneously", async () => {
    const logs = await Promise.all(
      Array.from({ length: 16 }, () => openNatsTxLog({ servers: server.url, stream })),
    );
    await Promise.all(logs.map((log) => log.create(bytes)));
    const ids = await Promise.all(logs.map((log) => log.id()));
    const bounds = await Promise.all(logs.map((log) => log.bounds()));
    const births = await Promise.all(logs.map(async (log) => text(await log.fetch(1))));
    expect(new Set(ids).size).toBe(1);
    expect(new Set(births)).toEqual(new Set(ids));
    expect(bounds).toEqual(Array.from({ length: 16 }, () => ({ first: 1, last: 1 })));
    await Promise.all(logs.map((log) => log.close()));
  });

  it("does not create a stream without permission, and explains how to grant it", async () => {
    await withLog(
      async (log) => {
        await expect(log.create(bytes)).rejects.toMatchObject({
          code: "LOG_UNREACHABLE",
          hint: /create-stream/,
        });
        expect(await log.exists()).toBe(false);
      },
      { createStream: false },
    );
  });

  it("begins in an existing empty stream, and writes its id into the description", async () => {
    await makeStream({ description: "orders" });
    await withLog(async (log) => {
      expect(await log.exists()).toBe(false);
      await log.create(bytes);
      const id = await log.id();
      expect(text(await log.fetch(1))).toBe(id);
      expect((await configOf()).description).toBe(`orders (cairn log id ${id})`);
    });
  });

  it("writes no birth record into an emptied stream, whose history may exist elsewhere", async () => {
    await withLog(async (log) => {
      await log.create(bytes);
      await log.append(bytes("one"));
      await (await client.jetstreamManager()).streams.purge(stream);
      expect(await log.exists()).toBe(true);
      await log.create(bytes);
      expect(await log.bounds()).toMatchObject({ first: 3, last: 2 });
      expect(await log.append(bytes("two"))).toEqual({ position: 3, duplicate: false });
    });
  });

  it("warns of each current unsafe setting of a stream, with a code and a remedy", async () => {
    const hour = 3_600_000_000_000;
    await makeStream({ storage: StorageType.Memory, max_msgs: 100, max_age: hour, duplicate_window: 1e9 });
    await withLog(async (log) => {
      await log.create(bytes);
      const told = (await log.inspect?.()) ?? [];
      const said = told.map(({ message }) => message).join("\n");
      for (const words of [
        "in memory",
        "discards its oldest",
        "older than PT1H",
        "at most 100 messages",
        "two minutes",
        "holes",
      ]) {
        expect(said).toContain(words);
      }
      for (const one of told) expect(one).toMatchObject({ code: "LOG_UNSAFE", hint: expect.any(String) });
      await (await client.jetstreamManager()).streams.update(stream, { max_age: 0 });
      expect(await log.inspect?.()).toHaveLength(told.length - 1);
    });
  });

  it("restores its id in a description that lost it, but not in the description of a different stream in its place", async () => {
    await withLog(async (log) => {
      await log.create(bytes);
      const id = await log.id();
      const { streams: all } = await client.jetstreamManager();
      await all.update(stream, { description: "orders" });
      expect(await log.inspect?.(id)).toEqual([]);
      expect((await configOf()).description).toBe(`orders (cairn log id ${id})`);
      await all.delete(stream);
      await makeStream({ deny_delete: true, description: "other" });
      expect(await log.inspect?.(id)).toMatchObject([{ code: "LOG_UNSAFE", hint: /discard/ }]);
      expect((await configOf()).description).toBe("other");
      // Nothing may tell an operator to write the id into another log, either.
      await all.delete(stream);
      await log.create(bytes);
      expect(await log.inspect?.(id)).toEqual([]);
    });
  });

  it("warns that messages inside a stream were deleted", async () => {
    await makeStream({});
    await withLog(async (log) => {
      await log.create(bytes);
      await log.append(bytes("one"));
      await log.append(bytes("two"));
      await (await client.jetstreamManager()).streams.deleteMessage(stream, 2);
      const told = await log.inspect?.();
      expect(told).toContainEqual(expect.objectContaining({ code: "LOG_GAP", hint: expect.any(String) }));
    });
  });

  it("refuses a stream that removes messages after they are read", async () => {
    await makeStream({ retention: RetentionPolicy.Workqueue });
    await withLog(async (log) => {
      await expect(log.create(bytes)).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: /once they are read/,
      });
      await expect(log.exists()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    });
  });

  it("refuses a stream that does not include the log's subject", async () => {
    await makeStream({ subjects: [`${stream}.a`, `${stream}.b`] });
    await withLog(async (log) => {
      await expect(log.create(bytes)).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: /does not capture the subject/,
      });
    });
  });

  it("publishes on the only subject of a stream, even if that is not the default one", async () => {
    await makeStream({ subjects: [`${stream}.events`] });
    await withLog(async (log) => {
      await log.create(bytes);
      expect(await log.append(bytes("one"))).toEqual({ position: 2, duplicate: false });
    });
  });
});
