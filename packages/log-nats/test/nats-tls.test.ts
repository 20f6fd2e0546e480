// @module-tag nats
import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { NatsConnectionOptions } from "../src/nats-connection.ts";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { type NatsTestServer, startNatsServer } from "../testing/nats-server.ts";

const PATIENT = { timeout: 30_000, interval: 50 };

/**
 * Returns the path of a certificate or a key: of the authority, of a server or a client whose certificate the authority
 * has signed, or of a stranger, whose certificate is self-signed.
 */
function file(name: "authority" | "server" | "client" | "address" | `${string}-key`): string {
  return fileURLToPath(new URL(`./fixtures/${name}.pem`, import.meta.url));
}

const ca = { caFile: file("authority") };
const client = { certFile: file("client"), keyFile: file("client-key") };
const stranger = { certFile: file("address"), keyFile: file("address-key") };

type Tls = Extract<NatsConnectionOptions["tls"], object>;

describe("TLS with NATS", () => {
  let folder = "";
  let server: NatsTestServer;
  const cleanups: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-tls-"));
    server = await started(`ca_file: "${file("authority")}", verify: true`);
  });
  afterAll(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  async function configured(more: string): Promise<string> {
    const config = join(folder, "server.conf");
    const files = `cert_file: "${file("server")}", key_file: "${file("server-key")}"`;
    await writeFile(config, `tls { ${files}, timeout: 20, ${more} }`);
    return config;
  }

  async function started(more: string, silent = false): Promise<NatsTestServer> {
    const config = await configured(more);
    return await startNatsServer({ args: ["-c", config], silent });
  }

  async function opening(tls: Tls, port = server.port): Promise<void> {
    const log = await openNatsTxLog({ servers: `tls://localhost:${port}`, tls });
    expect(await log.exists()).toBe(false);
    await log.close();
  }

  it(
    "names the parameters that are needed if a server requests a certificate, and connects with them",
    { tags: "rest/slow" },
    async () => {
      await expect(opening(ca)).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: expect.stringContaining("requires a certificate from this node"),
        hint: expect.stringMatching(
          /"cert-file" and "key-file".*: "tls": \{"cert-file": ".*", "key-file": ".*"\}\.$/,
        ),
      });
      await opening({ ...ca, ...client });
    },
  );

  it("reports that a server does not accept the certificate of a node", { tags: "rest/slow" }, async () => {
    await expect(opening({ ...ca, ...stranger })).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("does not accept this node's certificate"),
      hint: expect.stringContaining("ca_file"),
    });
  });

  it.each([
    ["none", {}],
    ["another one", { caFile: file("address") }],
  ])("names the parameter for an unknown authority: %s", async (_, files) => {
    await expect(opening({ ...files, ...client })).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("an authority that this node does not trust"),
      hint: expect.stringMatching(/"ca-file".*: "tls": \{"ca-file": ".*"\}\.$/),
    });
  });

  it.each([
    [
      "a key of another certificate",
      { ...client, keyFile: file("address-key") },
      /key-file.*not contain the key/,
    ],
    [
      "a certificate for a key",
      { ...client, keyFile: file("client") },
      /key-file.*does not contain a private key/,
    ],
    [
      "a key for a certificate",
      { ...client, certFile: file("client-key") },
      /cert-file.*does not contain a certificate/,
    ],
    [
      "a key for an authority",
      { ...client, caFile: file("client-key") },
      /ca-file.*does not contain a certificate/,
    ],
  ])("refuses mismatched files before it connects: %s", async (_, files, message) => {
    const nowhere = { servers: "tls://127.0.0.1:1", tls: { ...ca, ...files } };
    await expect(openNatsTxLog(nowhere)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringMatching(message),
    });
  });

  it("reports that a server begins without TLS when the log begins with TLS", async () => {
    await expect(opening({ ...ca, ...client, handshakeFirst: true })).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("does not begin with TLS"),
      hint: expect.stringContaining('"handshake-first?" of the log\'s tls to false'),
    });
    await opening({ ...ca, ...client });
  });

  it(
    "names the parameter for a server that waits for TLS before it sends anything",
    { tags: "rest/slow" },
    async () => {
      // Debian's server does not know handshake_first (2.10); to clients, any TLS server waits in this way.
      const nats = await started("handshake_first: true", true).catch(() => undefined);
      const port = nats?.port ?? (await waitingServer());
      const silent = openNatsTxLog({ servers: `tls://localhost:${port}`, tls: ca, connectTimeoutMs: 3_000 });
      await expect(silent).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: expect.stringContaining("cannot be reached"),
        hint: expect.stringContaining("handshake_first"),
      });
      if (nats === undefined) return;
      cleanups.push(() => nats.close());
      await opening({ ...ca, handshakeFirst: true }, port);
    },
  );

  async function waitingServer(port = 0): Promise<number> {
    const [cert, key] = await Promise.all([readFile(file("server")), readFile(file("server-key"))]);
    const waiting = createServer({ cert, key }).listen(port, "127.0.0.1");
    waiting.on("tlsClientError", () => undefined);
    const sockets = new Set<Socket>();
    waiting.on("connection", (socket: Socket) => sockets.add(socket));
    await once(waiting, "listening");
    cleanups.push(async () => {
      waiting.close();
      for (const socket of sockets) socket.destroy();
      await once(waiting, "close");
    });
    return (waiting.address() as AddressInfo).port;
  }

  it("reports to callers why a connection cannot be restored", { tags: "rest/slow" }, async () => {
    const lax = await started(`ca_file: "${file("authority")}"`);
    cleanups.push(() => lax.close());
    const log = await openNatsTxLog({ servers: `tls://localhost:${lax.port}`, tls: ca });
    cleanups.push(() => log.close());
    expect(await log.exists()).toBe(false);
    await lax.stop();
    const files = `cert_file: "${file("server")}", key_file: "${file("server-key")}", ca_file: "${file("authority")}"`;
    const config = join(folder, "server.conf");
    await writeFile(config, `tls { ${files}, verify: true }`);
    await lax.start();
    await vi.waitFor(async () => {
      await expect(log.exists()).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: expect.stringContaining("requires a certificate from this node"),
      });
    }, PATIENT);
    await lax.stop();
    await writeFile(config, `tls { ${files} }`);
    await lax.start();
    await vi.waitFor(async () => expect(await log.exists()).toBe(false), PATIENT);
  });

  it.each([
    [
      "another authority for its clients",
      /does not accept this node's certificate/,
      async (strict: NatsTestServer) => {
        await configured(`ca_file: "${stranger.certFile}", verify: true`);
        await strict.start();
      },
    ],
    [
      "no TLS",
      /does not offer TLS/,
      async (strict: NatsTestServer) => {
        await writeFile(join(folder, "server.conf"), "");
        await strict.start();
      },
    ],
    [
      "TLS first",
      /cannot be reached: no response within/,
      async ({ port }: NatsTestServer) => await waitingServer(port),
    ],
  ])(
    "reports for as long as it is true that a server came back with %s",
    { tags: "rest/slow" },
    async (_, message, comeBack) => {
      const strict = await started(`ca_file: "${file("authority")}", verify: true`);
      cleanups.push(() => strict.close());
      const servers = `tls://localhost:${strict.port}`;
      const log = await openNatsTxLog({ servers, tls: { ...ca, ...client }, connectTimeoutMs: 1_000 });
      cleanups.push(() => log.close());
      await strict.stop();
      await comeBack(strict);
      let since: number | undefined;
      await vi.waitFor(async () => {
        const error: unknown = await log.exists().catch((thrown: unknown) => thrown);
        if (!message.test(String(error))) since = undefined;
        expect(error).toMatchObject({ code: "LOG_UNREACHABLE", message });
        since ??= performance.now();
        expect(performance.now() - since).toBeGreaterThan(4_000);
      }, PATIENT);
    },
  );

  it.each([
    ["ca-file", "is empty", async (path: string) => await writeFile(path, "")],
    ["cert-file", "is missing", async (path: string) => await rm(path)],
    ["key-file", "belongs to another one", async (path: string) => await copyFile(stranger.keyFile, path)],
  ] as const)(
    "continues with the last usable files while the %s %s, and names it when they are refused",
    { tags: "rest/slow" },
    async (parameter, _, damage) => {
      const strict = await started(`ca_file: "${file("authority")}", verify: true`);
      cleanups.push(() => strict.close());
      const paths = { "ca-file": "ca.pem", "cert-file": "cert.pem", "key-file": "key.pem" };
      const [caFile, certFile, keyFile] = Object.values(paths).map((name) => join(folder, name)) as [
        string,
        string,
        string,
      ];
      await copyFile(ca.caFile, caFile);
      await copyFile(client.certFile, certFile);
      await copyFile(client.keyFile, keyFile);
      const tls = { caFile, certFile, keyFile };
      const log = await openNatsTxLog({ servers: `tls://localhost:${strict.port}`, tls });
      cleanups.push(() => log.close());
      await damage(join(folder, paths[parameter]));
      await strict.stop();
      await expect(log.exists()).rejects.toMatchObject({ code: "LOG_UNREACHABLE" });
      await strict.start();
      await vi.waitFor(async () => expect(await log.exists()).toBe(false), PATIENT);

      await strict.stop();
      await configured(`ca_file: "${stranger.certFile}", verify: true`);
      await strict.start();
      const refused = {
        code: "LOG_UNREACHABLE",
        message: expect.stringMatching(new RegExp(`does not accept this node's cert.*The ${parameter} of`)),
      };
      await vi.waitFor(async () => await expect(log.exists()).rejects.toMatchObject(refused), PATIENT);
    },
  );
});
