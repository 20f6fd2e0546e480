// @module-tag nats
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect, nanos, type NatsConnection } from "nats";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { type NatsTxLogOptions, openNatsTxLog } from "../src/nats-tx-log.ts";
import type { TxLog } from "@cairn/engine";
import { bytes } from "@cairn/engine/testing";
import { type NatsTestServer, startNatsServer } from "../testing/nats-server.ts";

const PATIENT = { timeout: 30_000, interval: 50 };

/** The part of a JetStream server's response that these tests use. */
interface Answer {
  readonly error?: { readonly description: string };
  readonly config?: { readonly [setting: string]: unknown };
}

describe("a stream or a server with limits of its own", () => {
  let folder = "";
  let server: NatsTestServer;
  let client: NatsConnection;
  const logs: TxLog[] = [];
  let streams = 0;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-limits-"));
    const config = join(folder, "server.conf");
    await writeFile(config, `jetstream { store_dir: "${folder}", limits { max_request_batch: 3 } }`);
    server = await startNatsServer({ jetStream: false, args: ["-c", config] });
    client = await connect({ servers: server.url });
  });
  afterAll(async () => {
    await client.close();
    await server.close();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const log of logs.splice(0)) await log.close();
  });

  async function ask(subject: string, question: object): Promise<Answer> {
    const { data } = await client.request(`$JS.API.${subject}`, JSON.stringify(question));
    return JSON.parse(Buffer.from(data).toString()) as Answer;
  }

  /** Creates a stream with settings that a server may not know. Returns the server's description of the stream. */
  async function made(settings: object): Promise<{ stream: string; answer: Answer }> {
    streams += 1;
    const stream = `log-${streams}`;
    const like = { storage: "file", retention: "limits", discard: "old", num_replicas: 1, max_consumers: -1 };
    const none = { max_msgs: -1, max_bytes: -1, max_age: 0, duplicate_window: nanos(120_000) };
    const config = { name: stream, subjects: [`${stream}.tx`], ...like, ...none, ...settings };
    return { stream, answer: await ask(`STREAM.CREATE.${stream}`, config) };
  }

  async function open(stream: string, options: Partial<NatsTxLogOptions> = {}): Promise<TxLog> {
    const log = await openNatsTxLog({ servers: server.url, stream, appendDeadlineMs: 10_000, ...options });
    logs.push(log);
    return log;
  }

  it.each([
    ["only the server's limit on one request", {}],
    ["a limit on the idle time of a consumer", { consumer_limits: { inactive_threshold: nanos(500) } }],
    ["a limit on unacknowledged messages", { consumer_limits: { max_ack_pending: 10 } }],
  ])("is read like any other stream: %s", { tags: "rest/slow" }, async (_, limits) => {
    const { stream } = await made(limits);
    const log = await open(stream);
    await log.create(bytes);
    for (let n = 2; n <= 8; n += 1) await log.append(bytes(`message ${n}`));
    const stop = new AbortController();
    let last = 0;
    let more: Promise<unknown> | undefined;
    for await (const messages of log.read(1, { signal: stop.signal })) {
      last = messages.at(-1)?.position ?? 0;
      // One reading continues. Before this message, it is idle for longer than the limit.
      if (last === 8) more ??= delay(1_500).then(async () => await log.append(bytes("late")));
      if (last === 9) stop.abort();
    }
    expect(last).toBe(9);
    await more;
  });

  it("makes readers report the number of consumers that it allows, and the remedy", async () => {
    const { stream } = await made({ max_consumers: 1 });
    const [first, second] = [await open(stream), await open(stream)];
    await first.create(bytes);
    const stop = new AbortController();
    const reading = first.read(1, { signal: stop.signal })[Symbol.asyncIterator]();
    await reading.next();
    const refused = {
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("maximum consumers limit reached (10026)"),
      hint: expect.stringContaining("max_consumers"),
    };
    await expect(
      second.read(1, { signal: stop.signal })[Symbol.asyncIterator]().next(),
    ).rejects.toMatchObject(refused);
    stop.abort();
    await reading.return?.();
    // The server removes a consumer some time after the request.
    await vi.waitFor(async () => {
      const next = second.read(1, { signal: new AbortController().signal })[Symbol.asyncIterator]();
      expect((await next.next()).done).toBe(false);
    });
  });

  it.each([
    ["counters alone", "allow_msg_counter", true],
    ["numbers starting with 1000", "first_seq", 1_000],
  ])("is refused if it sets %s, by servers that know this setting", async (_, setting, value) => {
    const { stream, answer } = await made({ [setting]: value, allow_direct: true });
    const log = await open(stream);
    // An older server ignores settings that it does not know.
    if (answer.config?.[setting] !== value) {
      await log.create(bytes);
      expect(await log.bounds()).toEqual({ first: 1, last: 1 });
      return;
    }
    for (const using of [log.exists(), log.create(bytes), log.inspect?.()]) {
      await expect(using).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: expect.stringContaining(setting),
        hint: expect.stringContaining("Name another stream"),
      });
    }
  });

  it("is reported if its messages may expire, by servers that know this setting", async () => {
    const { stream, answer } = await made({ allow_msg_ttl: true, deny_delete: true, discard: "new" });
    const log = await open(stream);
    await log.create(bytes);
    const told = answer.config?.["allow_msg_ttl"] === true ? [{ message: /allow_msg_ttl/ }] : [];
    expect(await log.inspect?.()).toMatchObject(told);
  });

  it(
    "that refuses a log's birth record is reported soon, with the server's own message",
    { tags: "rest/slow" },
    async () => {
      const { stream } = await made({ max_msg_size: 8 });
      const log = await open(stream);
      const begun = performance.now();
      await expect(log.create(() => Buffer.alloc(100))).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: expect.stringContaining("message size exceeds maximum allowed (10054)"),
        hint: expect.stringContaining("settings of the stream"),
      });
      expect(performance.now() - begun).toBeLessThan(20_000);
    },
  );

  it(
    "refuses messages above max_payload while it is low, and accepts them again once it was raised",
    { tags: "rest/slow" },
    async () => {
      const [config, pid] = [join(folder, "payload.conf"), join(folder, "payload.pid")];
      const limited = async (limit: number): Promise<void> =>
        await writeFile(
          config,
          `pid_file: "${pid}", max_payload: ${limit}, jetstream { store_dir: "${join(folder, "payload")}" }`,
        );
      await limited(1_048_576);
      const other = await startNatsServer({ jetStream: false, args: ["-c", config] });
      onTestFinished(() => other.close());
      const reloaded = async (limit: number): Promise<void> => {
        await limited(limit);
        process.kill(Number(await readFile(pid, "utf8")), "SIGHUP");
        await vi.waitFor(async () => {
          const fresh = await connect({ servers: other.url });
          const now = fresh.info?.max_payload;
          await fresh.close();
          expect(now).toBe(limit);
        }, PATIENT);
      };
      const log = await open("payload", { servers: other.url });
      await log.create(bytes);
      const refused = { code: "TX_TOO_LARGE", message: expect.stringContaining("max_payload is 1024 bytes") };
      await reloaded(1_024);
      const [large, small] = [log.append(Buffer.alloc(2_000)), log.append(bytes("small"))];
      await expect(large).rejects.toMatchObject(refused);
      expect(await small).toMatchObject({ duplicate: false });
      expect(await log.inspect?.()).toMatchObject([
        { code: "TX_TOO_LARGE", message: /refuses messages of more than 1024 bytes/ },
      ]);
      await reloaded(1_048_576);
      await vi.waitFor(
        async () => expect(await log.append(Buffer.alloc(2_000))).toMatchObject({ duplicate: false }),
        PATIENT,
      );
      expect(await log.inspect?.()).toEqual([]);
    },
  );

  it("does not delay the end of an aborted creation of a log", async () => {
    const { stream } = await made({ max_bytes: 4, discard: "new" });
    const stop = new AbortController();
    const log = await open(stream, { signal: stop.signal });
    const making = log.create(() => Buffer.alloc(100));
    stop.abort();
    await expect(making).rejects.toThrow(/abort/);
  });
});
