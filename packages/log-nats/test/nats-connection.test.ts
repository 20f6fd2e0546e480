// @module-tag nats
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nkeys } from "nats";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { freePort, startNatsServer } from "../testing/nats-server.ts";
import { bytes } from "@cairn/engine/testing";

const PATIENT = { timeout: 20_000, interval: 50 };

function fixture(name: string): string {
  return fileURLToPath(new URL(`./fixtures/${name}.pem`, import.meta.url));
}

describe("a connection to NATS", () => {
  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) await cleanup();
  });

  const started = async (...args: string[]): Promise<Awaited<ReturnType<typeof startNatsServer>>> => {
    const server = await startNatsServer({ args });
    cleanups.push(() => server.close());
    return server;
  };

  it("fails immediately if no server listens, and names the address", async () => {
    const port = await freePort();
    const begun = performance.now();
    const connectTimeoutMs = 120_000;
    await expect(
      openNatsTxLog({ servers: `nats://127.0.0.1:${port}`, connectTimeoutMs }),
    ).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: new RegExp(`127\\.0\\.0\\.1:${port}`),
    });
    expect(performance.now() - begun).toBeLessThan(connectTimeoutMs / 2);
  });

  it("fails if a server accepts the connection but is silent, and leaves no socket open", async () => {
    const sockets = new Set<Socket>();
    const silent = createServer((socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      socket.resume();
    }).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const address = silent.address();
    const port = typeof address === "object" ? address?.port : undefined;
    await expect(
      openNatsTxLog({ servers: `127.0.0.1:${port}`, connectTimeoutMs: 200 }),
    ).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
    });
    await expect.poll(() => sockets.size).toBe(0);
    silent.close();
    await once(silent, "close");
  });

  it("uses the servers in a list that respond", async () => {
    const server = await started();
    const log = await openNatsTxLog({ servers: [`nats://127.0.0.1:${await freePort()}`, server.url] });
    await log.create(bytes);
    expect(await log.bounds()).toEqual({ first: 1, last: 1 });
    await log.close();
  });

  it("accepts user and password in the options or in the address", async () => {
    const server = await started("--user", "alice", "--pass", "se cret");
    for (const options of [
      { servers: server.url, user: "alice", password: "se cret" },
      { servers: `nats://alice:se%20cret@127.0.0.1:${server.port}` },
    ]) {
      const log = await openNatsTxLog(options);
      expect(await log.exists()).toBe(false);
      await log.close();
    }
  });

  it("accepts a token in the options or in the address", async () => {
    const server = await started("--auth", "t0ken");
    for (const options of [
      { servers: server.url, token: "t0ken" },
      { servers: `nats://t0ken@127.0.0.1:${server.port}` },
    ]) {
      const log = await openNatsTxLog(options);
      expect(await log.exists()).toBe(false);
      await log.close();
    }
  });

  it("reports refused credentials without quoting them", async () => {
    const server = await started("--user", "alice", "--pass", "secret");
    const servers = `nats://alice:wr0ng@127.0.0.1:${server.port}`;
    const error: unknown = await openNatsTxLog({ servers }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "LOG_UNREACHABLE", message: /does not accept the credentials/ });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("wr0ng");
  });

  it("does not quote an address that it cannot parse, because the address may contain a password", async () => {
    const error: unknown = await openNatsTxLog({ servers: "http://alice:wr0ng@host" }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: "CONFIG_INVALID" });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("wr0ng");
  });

  it("reads the seed of an nkey from a file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-nkey-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const user = nkeys.createUser();
    const stranger = nkeys.createUser();
    const files = {
      config: join(folder, "server.conf"),
      seed: join(folder, "seed"),
      other: join(folder, "other"),
    };
    await writeFile(files.config, `authorization { users: [{ nkey: ${user.getPublicKey()} }] }`);
    await writeFile(files.seed, Buffer.concat([user.getSeed(), Buffer.from("\n")]));
    await writeFile(files.other, stranger.getSeed());
    const server = await started("-c", files.config);
    const log = await openNatsTxLog({ servers: server.url, nkeySeedFile: files.seed });
    expect(await log.exists()).toBe(false);
    await log.close();
    const refused = openNatsTxLog({ servers: server.url, nkeySeedFile: files.other });
    await expect(refused).rejects.toMatchObject({ code: "LOG_UNREACHABLE", message: /credentials/ });
  });

  it("names credentials that are no longer accepted, and reads renewed ones from their file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-renewed-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const [before, after] = [nkeys.createUser(), nkeys.createUser()];
    const [config, seed] = [join(folder, "server.conf"), join(folder, "seed")];
    const permit = async (user: typeof before): Promise<void> =>
      await writeFile(config, `authorization { users: [{ nkey: ${user.getPublicKey()} }] }`);
    await permit(before);
    await writeFile(seed, before.getSeed());
    const server = await started("-c", config);
    const log = await openNatsTxLog({ servers: server.url, nkeySeedFile: seed });
    expect(await log.exists()).toBe(false);
    await server.stop();
    await permit(after);
    await server.start();
    await vi.waitFor(async () => {
      await expect(log.exists()).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: /does not accept the credentials/,
        hint: /its account exists and has not expired\. A restart is not necessary/,
      });
    }, PATIENT);
    await writeFile(seed, after.getSeed());
    await vi.waitFor(async () => expect(await log.exists()).toBe(false), PATIENT);
    await log.close();
  });

  it("immediately reports the permissions that the user of the log lacks", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-permissions-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const config = join(folder, "server.conf");
    const permissions = `{ publish: { deny: ["cairn.tx"] } }`;
    await writeFile(
      config,
      `authorization { users: [{ user: admin, password: a }, { user: reader, password: r, permissions: ${permissions} }] }`,
    );
    const server = await started("-c", config);
    const admin = await openNatsTxLog({ servers: server.url, user: "admin", password: "a" });
    await admin.create(bytes);
    const reader = await openNatsTxLog({ servers: server.url, user: "reader", password: "r" });
    expect(await reader.bounds()).toEqual({ first: 1, last: 1 });
    await expect(reader.append(bytes("one"))).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: /permit/,
    });
    await reader.close();
    await admin.close();
  });

  it("names a credentials file that cannot be read", async () => {
    const server = await started();
    const options = { servers: server.url, credentialsFile: "/nowhere/node.creds" };
    await expect(openNatsTxLog(options)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: /node\.creds/,
    });
  });

  it.each(["ca", "cert", "key"] as const)(
    "names a %s-file that cannot be read, whatever the server offers",
    async (kind) => {
      const server = await started();
      const tls = { [`${kind}File`]: "/nowhere/to.pem" };
      await expect(openNatsTxLog({ servers: server.url, tls })).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: `The ${kind}-file of the NATS log, /nowhere/to.pem, cannot be read.`,
      });
    },
  );

  it("reports that a server has no TLS when the log requires it", async () => {
    const server = await started();
    await expect(openNatsTxLog({ servers: server.url, tls: true })).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("does not offer TLS"),
    });
  });

  it.each([
    ["its address is accepted for that address", "address", "tls://127.0.0.1", true],
    ["its address is not accepted for a name", "address", "tls://localhost", false],
    ["a name is accepted for that name", "name", "tls://localhost", true],
    ["a name is not accepted for an address", "name", "tls://127.0.0.1", false],
  ])("checks a server's certificate for %s", async (_what, certificate, server, isTaken) => {
    const { port } = await started(
      "--tls",
      "--tlscert",
      fixture(certificate),
      "--tlskey",
      fixture(`${certificate}-key`),
    );
    const opening = openNatsTxLog({ servers: `${server}:${port}`, tls: { caFile: fixture(certificate) } });
    if (!isTaken) {
      await expect(opening).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: /altnames|does not match/,
      });
      return;
    }
    const log = await opening;
    expect(await log.exists()).toBe(false);
    await log.close();
  });

  it("reports that JetStream is off, and not that the log is empty", async () => {
    const server = await startNatsServer({ jetStream: false });
    cleanups.push(() => server.close());
    const log = await openNatsTxLog({ servers: server.url });
    await expect(log.exists()).rejects.toMatchObject({ code: "LOG_UNREACHABLE", hint: /JetStream/ });
    await log.close();
  });

  it("rejects when it is aborted", async () => {
    const server = await started();
    await expect(openNatsTxLog({ servers: server.url, signal: AbortSignal.abort() })).rejects.toThrow(
      /abort/i,
    );
  });
});
