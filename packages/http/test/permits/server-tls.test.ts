import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { Agent, request as httpsRequest, type RequestOptions } from "node:https";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { connect, type TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { ServerTlsFiles } from "../../src/permits/server-tls.ts";
import { CapturedTerminal, cairn, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";
import { quickLooks } from "./quick-looks.ts";

const PATIENT = { timeout: 20_000, interval: 20 };

/**
 * Returns the path of a certificate or a key of the tests of NATS. The authority has signed `server` and `client`, which
 * are both valid for 127.0.0.1; `address` is self-signed.
 */
function fixture(name: string): string {
  return fileURLToPath(new URL(`../../../log-nats/test/fixtures/${name}.pem`, import.meta.url));
}

const SERVER: ServerTlsFiles = { cert: fixture("server"), key: fixture("server-key") };
const ca = await readFile(fixture("authority"));
const client = { cert: await readFile(fixture("client")), key: await readFile(fixture("client-key")) };

/** Copies a certificate and its key into a new folder, from which they can be replaced. */
async function copied(name: string): Promise<ServerTlsFiles> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-https-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const files = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  await replace(files, name);
  return files;
}

async function replace({ cert, key }: ServerTlsFiles, name: string): Promise<void> {
  for (const [source, target] of [
    [fixture(name), cert],
    [fixture(`${name}-key`), key],
  ] as const) {
    await copyFile(source, `${target}.next`);
    await rename(`${target}.next`, target);
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function get(served: ServedNode, path: string, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(served.url + path, { ca, agent: false, ...options }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, text: body }), reject);
    });
    request.once("error", reject).end();
  });
}

async function handshake(served: ServedNode): Promise<TLSSocket> {
  const socket = connect({ port: served.server.port, host: "127.0.0.1", ca, rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

/** Returns the name in the certificate that new connections get. */
async function nameOf(served: ServedNode): Promise<string> {
  const socket = await handshake(served);
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

async function run(argv: string[], env: Record<string, string> = {}): Promise<CommandResult> {
  return await cairn(argv, new CapturedTerminal({ env }));
}

describe("a server with TLS", () => {
  it("serves reads and writes over HTTPS, and nothing over HTTP", async () => {
    await using served = await serve({ tls: SERVER });
    expect(served.url).toMatch(/^https:/);
    expect(await get(served, "/health/ready")).toMatchObject({ status: 200 });
    expect(await get(served, "/api/v1/pods/default/none")).toMatchObject({ status: 404 });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (let n = 0; n < 3; n += 1) expect((await get(served, "/status", { agent })).status).toBe(200);
    agent.destroy();
    await expect(fetch(`${served.url.replace("https:", "http:")}/status`)).rejects.toThrow(/fetch failed/);
    expect(await get(served, "/health/ready")).toMatchObject({ status: 200 });
    expect(served.warned).toEqual([]);
  });

  it("uses a replaced certificate for new connections, without losing a request", async () => {
    const looks = quickLooks();
    const tls = await copied("server");
    await using served = await serve({ tls });
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    const over = new AbortController();
    let answered = 0;
    const load = Array.from({ length: 8 }, async (_, at) => {
      // Half of the load opens a connection for each request.
      const options = at % 2 === 0 ? { agent } : {};
      while (!over.signal.aborted) {
        expect((await get(served, "/health/live", options)).status).toBe(200);
        answered += 1;
      }
    });
    for (const name of ["client", "server", "client"]) {
      const before = answered;
      await looks.between(() => replace(tls, name));
      await vi.waitFor(async () => expect(await nameOf(served)).toBe(name), PATIENT);
      await vi.waitFor(() => expect(answered).toBeGreaterThan(before + 20), PATIENT);
    }
    over.abort();
    await Promise.all(load);
    agent.destroy();
    expect(served.warned).toEqual([]);
  });

  it("refuses a broken replacement with a warning, and keeps the certificate until it is mended", async () => {
    const looks = quickLooks();
    const tls = await copied("server");
    await using served = await serve({ tls });
    await looks.between(() => copyFile(fixture("address-key"), tls.key));
    await vi.waitFor(() => expect(served.warned).toHaveLength(1), PATIENT);
    expect(served.warned[0]).toMatchObject({
      fields: {
        code: "CONFIG_INVALID",
        message: expect.stringContaining("does not belong to the certificate") as string,
        hint: expect.stringMatching(/Set key of tls.* It is read again when it changes/) as string,
      },
      message: expect.stringContaining("remains in use") as string,
    });
    expect(await nameOf(served)).toBe("server");
    expect((await get(served, "/health/live")).status).toBe(200);
    await looks.between(() => replace(tls, "client"));
    await vi.waitFor(async () => expect(await nameOf(served)).toBe("client"), PATIENT);
    expect(served.warned).toHaveLength(1);
  });

  it("with client-ca, accepts only clients with a certificate of that authority", async () => {
    await using served = await serve({ tls: { ...SERVER, clientCa: fixture("authority") } });
    await expect(get(served, "/health/live")).rejects.toThrow(/alert|ECONNRESET|EPIPE|socket/i);
    const stranger = {
      cert: await readFile(fixture("address")),
      key: await readFile(fixture("address-key")),
    };
    await expect(get(served, "/health/live", stranger)).rejects.toThrow(/alert|ECONNRESET|EPIPE|socket/i);
    expect((await get(served, "/health/live", client)).status).toBe(200);
  });

  it("no longer accepts the clients of a removed authority, even while the certificate cannot be used", async () => {
    const looks = quickLooks();
    const tls = await copied("server");
    const clientCa = `${tls.cert}.authorities`;
    await copyFile(fixture("authority"), clientCa);
    await using served = await serve({ tls: { ...tls, clientCa } });
    expect((await get(served, "/health/live", client)).status).toBe(200);
    await looks.between(() => writeFile(tls.cert, ""));
    await vi.waitFor(() => expect(served.warned).toHaveLength(1), PATIENT);
    await looks.between(() => copyFile(fixture("address"), clientCa));
    await vi.waitFor(
      async () =>
        await expect(get(served, "/health/live", client)).rejects.toThrow(/alert|ECONNRESET|socket/i),
      PATIENT,
    );
    expect(served.warned).toHaveLength(1);
  });

  it("refuses a file of authorities of which only the beginning can be used", async () => {
    const looks = quickLooks();
    const tls = await copied("server");
    const clientCa = `${tls.cert}.authorities`;
    const [authority, address] = [await readFile(fixture("authority")), await readFile(fixture("address"))];
    await writeFile(clientCa, Buffer.concat([address, authority]));
    await using served = await serve({ tls: { ...tls, clientCa } });
    expect((await get(served, "/health/live", client)).status).toBe(200);
    await looks.between(() =>
      writeFile(clientCa, Buffer.concat([address, authority.subarray(0, authority.length / 2)])),
    );
    await vi.waitFor(() => expect(served.warned).toHaveLength(1), PATIENT);
    expect(served.warned[0]).toMatchObject({
      fields: {
        message: expect.stringMatching(/client-ca of tls.* does not contain a certificate/) as string,
      },
    });
    expect((await get(served, "/health/live", client)).status).toBe(200);
  });

  it("stops at once, even if a client never begins its handshake", async () => {
    const served = await serve({ tls: SERVER, closeTimeoutMs: 60_000 });
    const silent = connectTcp(served.server.port, "127.0.0.1");
    const idle = await handshake(served);
    // The handshake of the second connection shows that the server has accepted the first one.
    const ends = [once(silent, "close"), once(idle.resume(), "close")];
    const begin = performance.now();
    await served.server.close();
    await Promise.all(ends);
    // The time limit of handshakes is 15 s.
    expect(performance.now() - begin).toBeLessThan(10_000);
  });

  it("counts connections that never begin their handshake, and closes the oldest idle connection", async () => {
    await using served = await serve({ tls: SERVER, maxConnections: 2 });
    const idle = await handshake(served);
    const silent = connectTcp(served.server.port, "127.0.0.1");
    await once(silent, "connect");
    const ended = once(idle.resume(), "close");
    const third = await handshake(served);
    await ended;
    silent.destroy();
    third.destroy();
    expect(served.warned).toHaveLength(1);
  });

  it.each([
    [
      "a certificate that is missing",
      { cert: "/no/such/file" },
      /cert of tls, \/no\/such\/file, cannot be read/,
    ],
    ["a key that is missing", { key: "/no/such/file" }, /key of tls, .* cannot be read/],
    ["the key of another certificate", { key: fixture("client-key") }, /does not belong to the certificate/],
    ["a key in place of the certificate", { cert: fixture("server-key") }, /does not contain a certificate/],
    ["a certificate in place of the key", { key: fixture("server") }, /does not contain a private key/],
    ["an authority that is missing", { clientCa: "/no/such/file" }, /client-ca of tls, .* cannot be read/],
  ])("does not start with %s", async (_what, wrong, message) => {
    await expect(serve({ tls: { ...SERVER, ...wrong } })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringMatching(message) as string,
      hint: expect.any(String) as string,
    });
  });

  it.each([
    ["expired", /ended at 2020-01-01T00:00:00\.000Z, so clients refuse to connect/],
    ["future", /is not valid before 2100-01-01T00:00:00\.000Z, so clients refuse to connect/],
  ])("warns of a certificate that is not valid now: %s", async (name, message) => {
    await using served = await serve({ tls: { cert: fixture(name), key: fixture("address-key") } });
    expect(served.warned).toMatchObject([{ message: expect.stringMatching(message) as string }]);
    const refused = await run(["status", "--url", served.url, "--ca", fixture(name)]);
    expect(refused.stderr).toMatch(/Replace the node's certificate .*clock is wrong/);
  });
});

describe("a command for a node with TLS", () => {
  it(
    "trusts the authority of --ca or CAIRN_CA, and names the option without it",
    { tags: "rest/slow" },
    async () => {
      await using served = await serve({ tls: SERVER });
      const status = ["status", "--url", served.url];
      const refused = await run(status);
      expect(refused.stderr).toMatch(/Name the certificate of the authority .* with --ca or CAIRN_CA/);
      expect(await run([...status, "--ca", fixture("authority")])).toMatchObject({ code: 0 });
      expect(await run(status, { CAIRN_CA: fixture("authority") })).toMatchObject({ code: 0 });
      expect((await run([...status, "--ca", fixture("server-key")])).stderr).toMatch(
        /^USAGE: The file of --ca, .* does not contain a certificate/,
      );
      const plain = await run(["status", "--url", served.url.replace("https:", "http:")]);
      expect(plain.stderr).toMatch(/Use https:\/\/ in the address/);
    },
  );

  it("presents the certificate of --cert and --key", async () => {
    await using served = await serve({ tls: { ...SERVER, clientCa: fixture("authority") } });
    const status = ["status", "--url", served.url, "--ca", fixture("authority")];
    expect((await run(status)).stderr).toMatch(/with --cert and --key or CAIRN_CERT and CAIRN_KEY/);
    const identity = ["--cert", fixture("client"), "--key", fixture("client-key")];
    expect(await run([...status, ...identity])).toMatchObject({ code: 0 });
    const unlike = await run([...status, "--cert", fixture("client"), "--key", fixture("name-key")]);
    expect(unlike).toMatchObject({ code: 2 });
    expect(unlike.stderr).toMatch(
      /The files of --cert and --key cannot be used[^]*Give a certificate and its own key/,
    );
  });

  it("reaches the node of its configuration over HTTPS, and trusts exactly its certificate", async () => {
    await using served = await serve({ tls: { cert: fixture("name"), key: fixture("name-key") } });
    const folder = await mkdtemp(join(tmpdir(), "cairn-https-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, "node.json");
    const configure = async (name: string): Promise<void> => {
      const tls = { cert: fixture(name), key: fixture(`${name}-key`) };
      await writeFile(file, JSON.stringify({ "cairn/http-server": { port: served.server.port, tls } }));
    };
    // The certificate contains only the name localhost, but the command connects to 127.0.0.1.
    await configure("name");
    expect(await run(["status", "-f", file])).toMatchObject({ code: 0 });
    await configure("address");
    expect(await run(["status", "-f", file])).toMatchObject({ code: 3 });
  });
});

describe("a program for a node with TLS", () => {
  const bundle = new URL("../../../client/dist/bundle/index.js", import.meta.url).href;
  const program = `
    const { CairnClient } = await import(${JSON.stringify(bundle)});
    const client = new CairnClient({ urls: process.argv[1], retryForMs: 0 });
    console.log((await client.status().catch((error) => error.cause.cause)).code ?? "ok");`;

  it("trusts the authority in NODE_EXTRA_CA_CERTS", async () => {
    await using served = await serve({ tls: SERVER });
    const printed = async (env: NodeJS.ProcessEnv): Promise<string> => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program, served.url], {
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "inherit"],
      });
      return (await text(child.stdout)).trim();
    };
    expect(await printed({})).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
    expect(await printed({ NODE_EXTRA_CA_CERTS: fixture("authority") })).toBe("ok");
  });
});

describe("a server that other machines can reach", () => {
  const tokens = [{ source: { text: "s" }, rights: ["read" as const] }];

  it.each([
    ["without a token", { tls: SERVER }, /requires no token\. Set tokens and tls/],
    ["without a token and TLS", {}, /requires no token/],
    ["without TLS", { tokens }, /unencrypted\. Set tls/],
  ])("warns once %s", async (_what, options, message) => {
    await using served = await serve({ host: "0.0.0.0", ...options });
    expect(served.warned).toMatchObject([{ message: expect.stringMatching(message) as string }]);
  });

  it.each([
    ["with tokens and TLS", { host: "0.0.0.0", tls: SERVER, tokens }],
    ["with client certificates", { host: "0.0.0.0", tls: { ...SERVER, clientCa: fixture("authority") } }],
    ["only from this machine", { host: "127.0.0.1" }],
  ])("does not warn %s", async (_what, options) => {
    await using served = await serve(options);
    expect(served.warned).toEqual([]);
  });
});
