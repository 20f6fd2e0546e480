// @module-tag nats
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type JetStreamManager } from "nats";
import { afterEach, describe, expect, it } from "vitest";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import type { TxLog } from "@cairn/engine";
import { bytes } from "@cairn/engine/testing";
import { startNatsServer } from "../testing/nats-server.ts";
import { documentedRights, type Right } from "./nats-doc.ts";

const RIGHTS = documentedRights();
const NEEDED = RIGHTS.filter(({ who }) => who === "all");
const MAKING = RIGHTS.filter(({ who }) => who === "creates the stream");
const RECOVERING = RIGHTS.filter(({ who }) => who === "recovers a lost log");
const TRIMMING = RIGHTS.filter(({ who }) => who === "trims");

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Starts a server with these users and an `admin` with all permissions. The password of each is `n`. */
async function serverWith(users: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cairn-permissions-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  const config = join(folder, "server.conf");
  const others = Object.entries(users).map(
    ([user, permissions]) => `{ user: ${user}, password: n, permissions: { ${permissions} } }`,
  );
  await writeFile(
    config,
    `authorization { users: [${["{ user: admin, password: n }", ...others].join(", ")}] }`,
  );
  const server = await startNatsServer({ args: ["-c", config] });
  cleanups.push(() => server.close());
  return server.url;
}

async function open(servers: string, user: string, inboxPrefix?: string): Promise<TxLog> {
  const prefix = inboxPrefix === undefined ? {} : { inboxPrefix };
  const log = await openNatsTxLog({ servers, user, password: "n", appendDeadlineMs: 10_000, ...prefix });
  cleanups.push(() => log.close());
  return log;
}

/** Opens a log that has a message, as a user with these permissions. */
async function openedWith(permissions: string): Promise<TxLog> {
  const servers = await serverWith({ node: permissions });
  const admin = await open(servers, "admin");
  await admin.create(bytes);
  return await open(servers, "node");
}

/** Returns exactly these permissions in the form of a server's configuration. */
function allowing(rights: readonly Right[]): string {
  const subjects = (may: Right["may"]): string => {
    const allowed = rights.filter((right) => right.may === may).map(({ subject }) => `"${subject}"`);
    // An empty list would allow everything.
    return [...allowed, '"nothing.at.all"'].join(", ");
  };
  return `publish: { allow: [${subjects("publish")}] }, subscribe: { allow: [${subjects("subscribe")}] }`;
}

function rightsTo(may: Right["may"], subjects: readonly string[]): Right[] {
  return subjects.map((subject) => ({ who: "all", may, subject }) as Right);
}

async function asAdmin(servers: string): Promise<JetStreamManager> {
  const client = await connect({ servers, user: "admin", pass: "n" });
  cleanups.push(() => client.close());
  return await client.jetstreamManager();
}

/** Returns the permissions of a node that others can query, with its own inboxes, from docs/nats.md. */
function nodePermissions(name: string): string {
  const rights = RIGHTS.filter(({ who }) => who === "all" || who.startsWith("nodes"));
  const needed = rights
    .filter(({ may, subject }) => may === "subscribe" || subject !== "_INBOX.>")
    .map((right) => ({ ...right, subject: right.subject.replace("_INBOX.", `_INBOX_${name}.`) }));
  return `${allowing(needed)}, allow_responses: { max: -1, expires: "10m" }`;
}

/** Performs every operation that every node performs on a log. */
async function useAll(log: TxLog): Promise<void> {
  expect(await log.exists()).toBe(true);
  await log.append(bytes("one"));
  await reading(log);
  expect(await log.fetch(1)).toBeDefined();
}

/** Reads the first messages. */
async function reading(log: TxLog): Promise<void> {
  for await (const _ of log.read(1, { signal: new AbortController().signal })) return;
}

describe("the permissions that docs/nats.md lists", () => {
  it("are sufficient, and none is reported as missing", async () => {
    const log = await openedWith(allowing(NEEDED));
    await useAll(log);
    expect(await log.inspect?.()).toEqual([]);
  });

  it.each(NEEDED)("are required, and are named if they are missing: to $may $subject", async (missing) => {
    const log = await openedWith(allowing(NEEDED.filter((right) => right !== missing)));
    const [subject = ""] = missing.subject.split(/[*>]/);
    const verb = missing.may === "publish" ? "publish on" : "subscribe to";
    await expect(useAll(log)).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining(`does not permit this user to ${verb} ${subject}`),
      hint: expect.stringContaining("to publish to the log's subject and to $JS.API.>"),
    });
  });

  it("are fewer than the permissions that an error's hint requests, which are also sufficient", async () => {
    const hinted = [
      ...rightsTo("publish", ["cairn.tx", "$JS.API.>"]),
      ...rightsTo("subscribe", ["_INBOX.>"]),
    ];
    await useAll(await openedWith(allowing(hinted)));
  });

  it("allow a user to create, describe and trim a stream", async () => {
    const url = await serverWith({ maker: allowing([...NEEDED, ...MAKING, ...TRIMMING]) });
    const log = await open(url, "maker");
    await log.create(bytes);
    await useAll(log);
    await log.trim?.(2);
    expect(await log.bounds()).toEqual({ first: 2, last: 2 });
  });

  it("allow a user to remove an unused log, and a missing one is reported", async () => {
    const allowed = [...NEEDED, ...MAKING, ...RECOVERING];
    const log = await open(await serverWith({ maker: allowing(allowed) }), "maker");
    await log.create(bytes);
    await log.removeUnused?.((await log.id()) ?? "");
    expect(await log.exists()).toBe(false);
    const denied = await open(await serverWith({ maker: allowing([...NEEDED, ...MAKING]) }), "maker");
    await denied.create(bytes);
    await expect(denied.removeUnused?.((await denied.id()) ?? "")).rejects.toMatchObject({
      message: expect.stringContaining("permit this user to publish on $JS.API.STREAM.DELETE.cairn"),
    });
    expect(await denied.exists()).toBe(true);
  });

  it.each([...MAKING.filter(({ subject }) => subject.includes("CREATE")), ...TRIMMING])(
    "are named if one of these is missing: to $may $subject",
    async (missing) => {
      const rights = [...NEEDED, ...MAKING, ...TRIMMING].filter((right) => right !== missing);
      const log = await open(await serverWith({ maker: allowing(rights) }), "maker");
      const making = async (): Promise<void> => {
        await log.create(bytes);
        await log.append(bytes("one"));
        await log.trim?.(2);
      };
      await expect(making()).rejects.toMatchObject({
        code: "LOG_UNREACHABLE",
        message: expect.stringContaining(`permit this user to publish on ${missing.subject}`),
      });
    },
  );

  it("are named when a description cannot be corrected, and following the hint corrects it", async () => {
    const url = await serverWith({ reader: allowing(NEEDED), maker: allowing([...NEEDED, ...MAKING]) });
    const [reader, maker] = [await open(url, "reader"), await open(url, "maker")];
    await maker.create(bytes);
    const id = (await maker.id()) ?? "";
    const manager = await asAdmin(url);
    const redescribe = async (description: string): Promise<unknown> =>
      await manager.streams.update("cairn", { description });
    await redescribe("managed by others");
    // The reader is like a node that knows the log's id and has seen the stream before.
    await reader.exists();
    const [undescribed] = (await reader.inspect?.(id)) ?? [];
    expect(undescribed).toMatchObject({ code: "LOG_UNSAFE" });
    const [, stream, told = ""] =
      /nats stream edit (\S+) --description "([^"]+)"/.exec(undescribed?.hint ?? "") ?? [];
    expect(stream).toBe("cairn");
    await redescribe(told);
    expect(await reader.inspect?.(id)).toEqual([]);
    // With the permission to do it, a node corrects it by itself.
    await redescribe("managed by others");
    expect(await maker.inspect?.(id)).toEqual([]);
    expect((await manager.streams.info("cairn")).config.description).toContain(id);
  });

  it("allow nodes to query each other, each with inboxes to which no other user may subscribe", async () => {
    const url = await serverWith({ one: nodePermissions("one"), two: nodePermissions("two") });
    const admin = await open(url, "admin");
    await admin.create(bytes);
    const [one, two] = [await open(url, "one", "_INBOX_one"), await open(url, "two", "_INBOX_two")];
    await useAll(one);
    await useAll(two);
    const refused: unknown[] = [];
    const listening = (log: TxLog): void => {
      log.peers?.serve(
        (question, send) => [1, 2, 3].forEach((n) => send(Buffer.concat([question, Buffer.from(`${n}`)]))),
        (error) => refused.push(error),
      );
    };
    [one, two].forEach(listening);
    await Promise.all([one.exists(), two.exists()]);
    for (const log of [one, two]) {
      const answers: string[] = [];
      const stop = new AbortController();
      for await (const answer of log.peers?.ask(bytes("hello"), stop.signal) ?? []) {
        answers.push(Buffer.from(answer).toString());
        if (answers.length === 6) stop.abort();
      }
      expect(answers.toSorted()).toEqual(["hello1", "hello1", "hello2", "hello2", "hello3", "hello3"]);
    }
    expect(refused).toEqual([]);
    // With the other user's prefix for inboxes, a user receives nothing.
    const wrong = await open(url, "one", "_INBOX_two");
    await expect(wrong.exists()).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("subscribe to _INBOX_two."),
      hint: expect.stringContaining("_INBOX_two.>"),
    });
  });
});

describe("a NATS user without a permission that a log needs", () => {
  it("receives an error that names it if nothing can be pulled", async () => {
    const log = await openedWith(`publish: { deny: ["$JS.API.CONSUMER.MSG.NEXT.>"] }`);
    const failure = {
      code: "LOG_UNREACHABLE",
      message: expect.stringMatching(
        /permit this user to publish on \$JS\.API\.CONSUMER\.MSG\.NEXT\.cairn\./,
      ),
      hint: expect.stringContaining("$JS.API.>"),
    };
    await expect(reading(log)).rejects.toMatchObject(failure);
    // A reading that has failed says nothing about the log of now.
    expect(await log.inspect?.()).toEqual([]);
    // A denial on another subject does not concern the message.
    expect(await log.append(bytes("one"))).toEqual({ position: 2, duplicate: false });
  });

  it("receives an error that names it if no response can arrive, whatever the request", async () => {
    const log = await openedWith(`subscribe: { deny: ["_INBOX.>"] }`);
    const failure = {
      code: "LOG_UNREACHABLE",
      message: expect.stringMatching(/permit this user to subscribe to _INBOX\.>\.$/),
      hint: expect.stringContaining("_INBOX.>"),
    };
    await expect(log.bounds()).rejects.toMatchObject(failure);
    await expect(log.append(bytes("one"))).rejects.toMatchObject(failure);
    await expect(reading(log)).rejects.toMatchObject(failure);
  });

  it("receives an error that names it if no message can arrive, even if all other requests have a response", async () => {
    // Responses are sent to _INBOX.<id>.<number>, and pulled messages to _INBOX.<id>.<slot>.<number>.
    const log = await openedWith(`subscribe: { deny: ["_INBOX.*.*.*"] }`);
    expect(await log.bounds()).toEqual({ first: 1, last: 1 });
    await expect(reading(log)).rejects.toMatchObject({ code: "LOG_UNREACHABLE", hint: /_INBOX/ });
  });
});

it("a log refuses a stream that would store responses, and warns of all its other subjects", async () => {
  const url = await serverWith({});
  const own = await open(url, "admin", "cairn.inbox");
  const other = await open(url, "admin", "elsewhere");
  await other.create(bytes);
  expect(await own.exists()).toBe(true);
  const manager = await asAdmin(url);
  await manager.streams.update("cairn", { subjects: ["cairn.>"] });
  expect(await other.inspect?.()).toMatchObject([
    {
      code: "LOG_UNSAFE",
      message: expect.stringContaining("cairn.>"),
      hint: "nats stream edit cairn --subjects=cairn.tx corrects that.",
    },
  ]);
  await expect(own.exists()).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("below cairn.inbox"),
    hint: expect.stringContaining("inbox-prefix"),
  });
  await manager.streams.update("cairn", { subjects: ["cairn.tx"] });
  expect(await other.inspect?.()).toEqual([]);
  expect(await own.exists()).toBe(true);
});
