// @module-tag nats
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type JetStreamManager, type NatsConnection } from "nats";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import type { TxLog } from "@cairn/engine";
import { bytes, text } from "@cairn/engine/testing";
import { freePort, type NatsTestServer, startNatsServer } from "../testing/nats-server.ts";

describe("a log with a stream of its name in each of two domains, joined by a leaf node,", () => {
  let folder = "";
  let leafPort = 0;
  let hub: NatsTestServer;
  let leaf: NatsTestServer;
  let stream = "";
  let streams = 0;
  const logs: TxLog[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-domains-"));
    leafPort = await freePort();
    hub = await server("hub", `listen: "127.0.0.1:${leafPort}"`);
    leaf = await server("leaf", `remotes: [{ url: "nats://127.0.0.1:${leafPort}" }]`);
  });
  afterAll(async () => {
    await Promise.all([hub.close(), leaf.close()]);
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(() => {
    streams += 1;
    stream = `log-${streams}`;
  });
  afterEach(async () => {
    await Promise.all(logs.splice(0).map((log) => log.close()));
  });

  async function server(domain: string, leafnodes: string): Promise<NatsTestServer> {
    const config = join(folder, `${domain}.conf`);
    const jetstream = `{ store_dir: "${join(folder, domain)}", domain: ${domain} }`;
    await writeFile(config, `server_name: ${domain}\njetstream ${jetstream}\nleafnodes { ${leafnodes} }\n`);
    return await startNatsServer({ jetStream: false, args: ["-c", config] });
  }

  async function open(at: NatsTestServer, domain?: string): Promise<TxLog> {
    const place = domain === undefined ? {} : { domain };
    const log = await openNatsTxLog({ servers: at.url, stream, appendDeadlineMs: 2_000, ...place });
    logs.push(log);
    return log;
  }

  async function asOperator(act: (manager: JetStreamManager) => Promise<unknown>): Promise<void> {
    await asClient(async (client) => await act(await client.jetstreamManager()));
  }

  async function asClient(act: (client: NatsConnection) => Promise<unknown>): Promise<void> {
    const client = await connect({ servers: hub.url });
    try {
      await act(client);
    } finally {
      await client.close();
    }
  }

  it("counts only the acknowledgement of its own stream, and warns that the other one also stores messages", async () => {
    const [near, far] = [await open(hub), await open(leaf)];
    await Promise.all([near.create(bytes), far.create(bytes)]);
    await joined(near, far);
    // After this, their positions differ: the hub's stream has one more message, which the leaf's does not receive.
    await asOperator(async (manager) => {
      await manager.streams.update(stream, { subjects: [`${stream}.tx`, `${stream}.other`] });
    });
    await asClient(async (client) => {
      await client.jetstream().publish(`${stream}.other`, "only here");
    });
    const names = Array.from({ length: 200 }, (_, n) => `message ${n}`);
    const appended = await Promise.all(names.map((name) => near.append(bytes(name))));
    for (const [n, { position }] of appended.entries()) {
      expect(text(await near.fetch(position))).toBe(names[n]);
    }
    await vi.waitFor(async () =>
      expect(await near.inspect?.()).toMatchObject([
        { code: "LOG_UNSAFE", hint: `nats stream edit ${stream} --subjects=${stream}.tx corrects that.` },
        {
          code: "LOG_UNSAFE",
          message: expect.stringContaining('in the domain "leaf" also captures'),
          hint: /leaf node/,
        },
      ]),
    );
  });

  it(
    "reports no acknowledgement when only the other stream acknowledges, and names both",
    { tags: "rest/slow" },
    async () => {
      const [near, far] = [await open(hub), await open(leaf)];
      await Promise.all([near.create(bytes), far.create(bytes)]);
      await joined(near, far);
      await asOperator((manager) => manager.streams.update(stream, { subjects: ["elsewhere"] }));
      const before = (await far.bounds()).last;
      await expect(near.append(bytes("lost"))).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: expect.stringMatching(/domain "leaf".*domain "hub"/),
        hint: expect.stringContaining(`${stream}.tx`),
      });
      expect((await far.bounds()).last).toBeGreaterThan(before);
    },
  );

  it("uses the stream of the configured domain, whatever server it is connected to", async () => {
    const near = await open(hub);
    await near.create(bytes);
    const through = await vi.waitFor(async () => {
      const log = await open(leaf, "hub");
      expect(await log.exists()).toBe(true);
      return log;
    });
    const { position } = await through.append(bytes("from the leaf"));
    expect(text(await near.fetch(position))).toBe("from the leaf");
    const stop = new AbortController();
    const read: (string | undefined)[] = [];
    for await (const messages of through.read(position, { signal: stop.signal })) {
      read.push(...messages.map(text));
      stop.abort();
    }
    expect(read).toEqual(["from the leaf"]);
    expect(await (await open(leaf)).exists()).toBe(false);
  });

  it("needs the name of the domain on a leaf node without JetStream, and reports that", async () => {
    const near = await open(hub);
    await near.create(bytes);
    const config = join(folder, "plain.conf");
    await writeFile(
      config,
      `server_name: plain\nleafnodes { remotes: [{ url: "nats://127.0.0.1:${leafPort}" }] }\n`,
    );
    const plain = await startNatsServer({ jetStream: false, args: ["-c", config] });
    try {
      await vi.waitFor(async () => expect(await (await open(plain, "hub")).exists()).toBe(true));
      await expect((await open(plain)).exists()).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        hint: expect.stringContaining('"domain"'),
      });
    } finally {
      await plain.close();
    }
  });
});

/** Waits until messages published at the hub reach the leaf's stream. */
async function joined(near: TxLog, far: TxLog): Promise<void> {
  await vi.waitFor(async () => {
    const { last } = await far.bounds();
    await near.append(bytes("are you there"));
    await vi.waitFor(async () => expect((await far.bounds()).last).toBeGreaterThan(last), 500);
  });
}
