// @module-tag nats
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { type NatsTestServer, startNatsServer } from "../testing/nats-server.ts";
import { NatsOperatorMode } from "./nats-jwt.ts";

const PATIENT = { timeout: 30_000, interval: 50 };

describe("NATS credentials", () => {
  let folder = "";
  const cleanups: (() => Promise<void>)[] = [];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-credentials-"));
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
    await rm(folder, { recursive: true });
  });

  async function started(...args: string[]): Promise<NatsTestServer> {
    const server = await startNatsServer({ args });
    cleanups.push(() => server.close());
    return server;
  }

  async function written(name: string, text: string): Promise<string> {
    const file = join(folder, name);
    await writeFile(file, text);
    return file;
  }

  it.each([
    ["credentialsFile", "credentials-file", "credentials"],
    ["nkeySeedFile", "nkey-seed-file", "the seed of an nkey"],
  ] as const)(
    "are refused before any connection is made if the file contains none: %s",
    async (option, parameter, words) => {
      for (const text of [
        "",
        "nothing",
        "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n",
      ]) {
        const file = await written("file", text);
        await expect(openNatsTxLog({ servers: "127.0.0.1:1", [option]: file })).rejects.toMatchObject({
          code: "CONFIG_INVALID",
          message: `The ${parameter} of the NATS log, ${file}, does not contain ${words}.`,
          hint: expect.stringContaining("nsc generate"),
        });
      }
    },
  );

  it("that are missing or wrong are named", async () => {
    const { url } = await started("--user", "alice", "--pass", "secret");
    await expect(openNatsTxLog({ servers: url })).rejects.toMatchObject({
      ...refused('"credentials-file" or "nkey-seed-file"'),
      message: expect.stringContaining("requires credentials, and the log's configuration contains none"),
    });
    const wrong = { servers: url, user: "alice", password: "wrong" };
    await expect(openNatsTxLog(wrong)).rejects.toMatchObject(refused('"user" and "password"'));
    await expect(openNatsTxLog({ servers: url, token: "t" })).rejects.toMatchObject(refused('"token"'));
  });

  it(
    "that have expired are named with their expiry time, and a running log reads renewed ones",
    { tags: "rest/slow" },
    async () => {
      const operator = new NatsOperatorMode();
      const server = await started("-c", await written("server.conf", operator.config));
      const expiry = Math.floor(Date.now() / 1_000) + 4;
      const credentialsFile = await written("node.creds", operator.credentials(expiry));
      const log = await openNatsTxLog({ servers: server.url, credentialsFile });
      cleanups.push(() => log.close());
      const expired = {
        code: "LOG_UNREACHABLE",
        message: `NATS at 127.0.0.1:${server.port} does not accept the credentials in the credentials-file ${credentialsFile}: they expired at ${new Date(expiry * 1_000).toISOString()}.`,
        hint: expect.stringContaining("A restart is not necessary"),
      };
      await vi.waitFor(async () => await expect(log.id()).rejects.toMatchObject(expired), PATIENT);
      // The server measures time in whole seconds.
      await vi.waitFor(async () => {
        const opened = openNatsTxLog({ servers: server.url, credentialsFile }).then((late) => late.close());
        await expect(opened).rejects.toMatchObject(expired);
      }, PATIENT);
      await writeFile(credentialsFile, operator.credentials(expiry + 3_600));
      await vi.waitFor(async () => expect(await log.exists()).toBe(false), PATIENT);
    },
  );

  it("whose file is being replaced during a reconnect do not close the connection permanently", async () => {
    const operator = new NatsOperatorMode();
    const server = await started("-c", await written("server.conf", operator.config));
    const text = operator.credentials();
    const credentialsFile = await written("node.creds", text);
    const log = await openNatsTxLog({ servers: server.url, credentialsFile });
    cleanups.push(() => log.close());
    await server.stop();
    await writeFile(credentialsFile, text.slice(0, 40));
    await server.start();
    await vi.waitFor(async () => expect(await log.exists()).toBe(false), PATIENT);
  });
});

function refused(hint: string): object {
  return { code: "LOG_UNREACHABLE", hint: expect.stringContaining(hint) };
}
