// @module-tag nats
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "nats";
import { expect, it, onTestFinished, vi } from "vitest";
import { bytes } from "@cairn/engine/testing";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { startMutableProxy } from "@cairn/test-support/links/mutable-proxy";
import { type NatsTestServer, startNatsServer } from "../testing/nats-server.ts";

const PATIENT = { timeout: 30_000, interval: 50 };

async function configured(config: string): Promise<NatsTestServer> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-words-"));
  const file = join(folder, "server.conf");
  await writeFile(file, config);
  const server = await startNatsServer({ args: ["-c", file] });
  onTestFinished(async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });
  return server;
}

const ACCOUNT = `accounts { A {
  jetstream: enabled
  users: [{ user: a, password: secret }]
  limits { max_connections: 2 }
} }`;

it.each([
  ["the server", "max_connections: 2", {}, {}],
  ["the account", ACCOUNT, { user: "a", password: "secret" }, { user: "a", pass: "secret" }],
])(
  "the limit of %s on connections is reported in the server's words, also when one is lost",
  { tags: "rest/slow" },
  async (_, config, user, credentials) => {
    const server = await configured(config);
    const proxy = await startMutableProxy(server.port);
    onTestFinished(() => proxy.close());
    const options = { stream: "words", ...user };
    const log = await openNatsTxLog({ ...options, servers: `127.0.0.1:${proxy.port}` });
    onTestFinished(() => log.close());
    // The first one waits until the server has noticed the end of the log's look whether it responds.
    const taking = async () =>
      await connect({ servers: server.url, ...credentials, reconnect: false, timeout: 200 });
    const first = await vi.waitFor(taking, PATIENT);
    onTestFinished(() => first.close());
    const refused = {
      code: "LOG_UNREACHABLE",
      message: expect.stringMatching(/ refuses the connection: maximum .*connections exceeded\.$/) as string,
      hint: expect.stringMatching(/^Raise max_connections of the server/) as string,
    };
    await expect(openNatsTxLog({ ...options, servers: server.url })).rejects.toMatchObject(refused);

    // The log waits before it connects again.
    const other = await vi.waitFor(async () => {
      proxy.cut();
      return await taking();
    }, PATIENT);
    onTestFinished(() => other.close());
    await vi.waitFor(async () => await expect(log.exists()).rejects.toMatchObject(refused), PATIENT);
    await other.close();
    await vi.waitFor(async () => expect(await log.exists()).toBe(false), PATIENT);
  },
);

it("a server that disconnects readers for which too much waits is read in smaller parts", async () => {
  const server = await configured("max_pending: 1MB");
  const log = await openNatsTxLog({ servers: server.url, stream: "words" });
  onTestFinished(() => log.close());
  await log.create(bytes);
  const message = Buffer.alloc(100_000, 7);
  for (let n = 0; n < 80; n += 1) await log.append(message);
  const reader = await openNatsTxLog({ servers: server.url, stream: "words" });
  onTestFinished(() => reader.close());
  let next = 1;
  const read = async (): Promise<void> => {
    const stop = new AbortController();
    for await (const messages of reader.read(next, { signal: stop.signal })) {
      next = (messages.at(-1)?.position ?? 0) + 1;
      if (next > 81) return;
    }
    throw new Error(`The reading ended before message ${next}.`);
  };
  await vi.waitFor(read, PATIENT);
  expect(next).toBe(82);
});

const WITHOUT_IMPORT = `accounts {
  JS {
    jetstream: enabled
    users: [{ user: owner, password: secret }]
    exports: [{ service: "$JS.API.>", response_type: stream }]
  }
  APP {
    users: [{ user: guest, password: secret }]
    imports: [{ service: { account: JS, subject: "$JS.API.>" } }]
  }
}`;

it("a subject that nothing receives is named when the time for a message is over", async () => {
  const server = await configured(WITHOUT_IMPORT);
  const options = { servers: server.url, stream: "words", password: "secret", appendDeadlineMs: 500 };
  const owner = await openNatsTxLog({ ...options, user: "owner" });
  onTestFinished(() => owner.close());
  await owner.create(bytes);
  const guest = await openNatsTxLog({ ...options, user: "guest" });
  onTestFinished(() => guest.close());
  await expect(guest.append(bytes("unheard"))).rejects.toMatchObject({
    code: "LOG_UNREACHABLE",
    message: expect.stringMatching(
      /^Nothing in the account of this user receives messages on words\.tx/,
    ) as string,
    hint: expect.stringContaining("imports") as string,
  });
});
