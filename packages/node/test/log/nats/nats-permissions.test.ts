import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { openNatsTxLog } from "../../../src/log/nats/nats-tx-log.ts";
import type { TxLog } from "../../../src/log/tx-log.ts";
import { bytes } from "../../../testing/log-messages.ts";
import { startNatsServer } from "../../../testing/nats-server.ts";

describe("a user of NATS that may not do what a log needs", () => {
  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  });

  /** A log with a message, opened by a user with these permissions. */
  async function openedWith(permissions: string): Promise<TxLog> {
    const folder = await mkdtemp(join(tmpdir(), "cairn-permissions-"));
    cleanups.push(() => rm(folder, { recursive: true }));
    const config = join(folder, "server.conf");
    const users = `{ user: admin, password: a }, { user: node, password: n, permissions: { ${permissions} } }`;
    await writeFile(config, `authorization { users: [${users}] }`);
    const server = await startNatsServer({ args: ["-c", config] });
    cleanups.push(() => server.close());
    const admin = await openNatsTxLog({ servers: server.url, user: "admin", password: "a" });
    await admin.create(bytes);
    await admin.close();
    const log = await openNatsTxLog({ servers: server.url, user: "node", password: "n" });
    cleanups.push(() => log.close());
    return log;
  }

  it("is told which when nothing can be pulled, by who reads and by who looks at the log", async () => {
    const log = await openedWith(`publish: { deny: ["$JS.API.CONSUMER.MSG.NEXT.>"] }`);
    const failure = {
      code: "LOG_UNREACHABLE",
      message: expect.stringMatching(
        /permit this user to publish on \$JS\.API\.CONSUMER\.MSG\.NEXT\.cairn\./,
      ),
      hint: expect.stringContaining("$JS.API.>"),
    };
    await expect(reading(log)).rejects.toMatchObject(failure);
    expect(await log.inspect?.()).toMatchObject([failure]);
    // Another one's denial is none of a message's.
    expect(await log.append(bytes("one"))).toEqual({ position: 2, duplicate: false });
  });

  it("is told which when no answer can come, whatever it asks", async () => {
    const log = await openedWith(`subscribe: { deny: ["_INBOX.>"] }`);
    const failure = {
      code: "LOG_UNREACHABLE",
      message: expect.stringMatching(/permit this user to subscribe to _INBOX\./),
      hint: expect.stringContaining("_INBOX.>"),
    };
    await expect(log.bounds()).rejects.toMatchObject(failure);
    await expect(log.append(bytes("one"))).rejects.toMatchObject(failure);
    await expect(reading(log)).rejects.toMatchObject(failure);
  });

  it("needs no more than the documentation says", async () => {
    const asked = ["STREAM.INFO.cairn", "STREAM.MSG.GET.cairn", "CONSUMER.CREATE.cairn"];
    const pulled = ["CONSUMER.DELETE.cairn.>", "CONSUMER.MSG.NEXT.cairn.>"];
    const subjects = ['"cairn.tx"', ...[...asked, ...pulled].map(ofTheApi)].join(", ");
    const log = await openedWith(`publish: { allow: [${subjects}] }, subscribe: { allow: ["_INBOX.>"] }`);
    expect(await log.append(bytes("one"))).toEqual({ position: 2, duplicate: false });
    await reading(log);
    expect(await log.fetch(2)).toBeDefined();
    expect(await log.inspect?.()).toEqual([]);
  });

  it("is told which when it may not write", async () => {
    const log = await openedWith(`publish: { deny: ["cairn.tx"] }`);
    await expect(log.append(bytes("one"))).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("publish on cairn.tx"),
    });
  });

  it("is told which when no message can come, though all else is answered", async () => {
    // Answers come to _INBOX.<id>.<number>, what is pulled to _INBOX.<id>.<slot>.<number>.
    const log = await openedWith(`subscribe: { deny: ["_INBOX.*.*.*"] }`);
    expect(await log.bounds()).toEqual({ first: 1, last: 1 });
    await expect(reading(log)).rejects.toMatchObject({ code: "LOG_UNREACHABLE", hint: /_INBOX/ });
  });
});

/** Reads until the first messages came. */
async function reading(log: TxLog): Promise<void> {
  for await (const _ of log.read(1, { signal: new AbortController().signal })) return;
}

/** A subject of the JetStream API, as it stands in a configuration of nats-server. */
function ofTheApi(name: string): string {
  return `"$JS.API.${name}"`;
}
