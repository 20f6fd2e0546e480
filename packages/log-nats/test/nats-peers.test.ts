// @module-tag nats
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { CairnError } from "@cairn/kv";
import { connect } from "nats";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openNatsTxLog } from "../src/nats-tx-log.ts";
import { askStatus, tellLeaving } from "@cairn/engine/src/cluster/ask-cluster";
import { startMutableProxy } from "@cairn/test-support/links/mutable-proxy";
import type { PeerChannel, TxLog } from "@cairn/engine";
import { startNatsServer } from "../testing/nats-server.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

const ADDRESS = "_CAIRN.nodes.cairn";
const bytes = (text: string): Uint8Array => Buffer.from(text);

/** Starts a server whose user `reader` has these permissions. */
async function server(permissions = "{}"): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-peers-"));
  cleanups.push(() => rm(folder, { recursive: true }));
  const config = path.join(folder, "server.conf");
  const reader = `{ user: reader, password: r, permissions: ${permissions} }`;
  await writeFile(config, `authorization { users: [{ user: admin, password: a }, ${reader}] }`);
  const started = await startNatsServer({ args: ["-c", config] });
  cleanups.push(() => started.close());
  return started.url;
}

async function open(
  url: string,
  user: "admin" | "reader" = "admin",
): Promise<{ log: TxLog; peers: PeerChannel }> {
  const log = await openNatsTxLog({ servers: url, user, password: user.slice(0, 1) });
  cleanups.push(() => log.close());
  const { peers } = log;
  if (peers === undefined) throw new Error("a log on NATS connects its readers");
  return { log, peers };
}

async function answersTo(peers: PeerChannel, question: string, most = 10, ms = 500): Promise<string[]> {
  const answers: string[] = [];
  const stop = new AbortController();
  const signal = AbortSignal.any([AbortSignal.timeout(ms), stop.signal]);
  for await (const answer of peers.ask(bytes(question), signal)) {
    answers.push(Buffer.from(answer).toString());
    if (answers.length === most) stop.abort();
  }
  return answers.toSorted();
}

/** Resolves when the server has read everything that this log's connection has sent. */
async function heard(log: TxLog): Promise<void> {
  await log.exists();
}

function echo(peers: PeerChannel, name: string, refused: CairnError[] = []): () => void {
  return peers.serve(
    (question, send) => send(bytes(`${name}: ${Buffer.from(question).toString()}`)),
    (error) => refused.push(error),
  );
}

describe("nodes with the same log on NATS", () => {
  it("all receive a request, and may each send several responses", async () => {
    const url = await server();
    const [asking, one, two] = [await open(url), await open(url), await open(url)];
    await asking.log.create(() => bytes("birth"));
    echo(one.peers, "one");
    two.peers.serve(
      (_question, send) => [1, 2].map((n) => send(bytes(`two: ${n}`))),
      () => {},
    );
    await Promise.all([heard(one.log), heard(two.log)]);
    expect(await answersTo(asking.peers, "hello", 3, 30_000)).toEqual(["one: hello", "two: 1", "two: 2"]);
    expect(await asking.log.bounds()).toEqual({ first: 1, last: 1 });
  });

  it("learn immediately that there is no other node", async () => {
    const { log, peers } = await open(await server());
    await log.create(() => bytes("birth"));
    const begun = performance.now();
    expect(await answersTo(peers, "hello", 1, 120_000)).toEqual([]);
    expect(performance.now() - begun).toBeLessThan(60_000);
  });

  it("do not hear from nodes of a log with a different name, or from nodes that have stopped serving", async () => {
    const url = await server();
    const [asking, one] = [await open(url), await open(url)];
    await asking.log.create(() => bytes("birth"));
    const other = await openNatsTxLog({ servers: url, user: "admin", password: "a", stream: "other" });
    cleanups.push(() => other.close());
    if (other.peers !== undefined) echo(other.peers, "other");
    const end = echo(one.peers, "one");
    await Promise.all([heard(one.log), heard(other)]);
    expect(await answersTo(asking.peers, "1", 1, 30_000)).toEqual(["one: 1"]);
    end();
    await heard(one.log);
    expect(await answersTo(asking.peers, "2", 1)).toEqual([]);
  });

  it("hear that a node stops whose link is slow", { tags: "rest/slow" }, async () => {
    const started = await startNatsServer();
    cleanups.push(() => started.close());
    const proxy = await startMutableProxy(started.port, 700);
    cleanups.push(() => proxy.close());
    const listening = await openNatsTxLog({ servers: started.url });
    cleanups.push(() => listening.close());
    const stopping = await openNatsTxLog({ servers: `nats://127.0.0.1:${proxy.port}` });
    cleanups.push(() => stopping.close());
    await listening.create(() => bytes("birth"));
    const questions: string[] = [];
    listening.peers?.serve(
      (question) => questions.push(Buffer.from(question).toString()),
      () => {},
    );
    await heard(listening);
    if (stopping.peers !== undefined) await tellLeaving(stopping.peers, "a");
    await heard(listening);
    expect(questions).toEqual([expect.stringContaining('"leaving"')]);
  });

  it("wait no longer than they are allowed to for a server that has stopped responding", async () => {
    const started = await startNatsServer();
    cleanups.push(() => started.close());
    const proxy = await startMutableProxy(started.port);
    cleanups.push(() => proxy.close());
    const log = await openNatsTxLog({ servers: `nats://127.0.0.1:${proxy.port}` });
    cleanups.push(() => log.close());
    await log.create(() => bytes("birth"));
    proxy.mute();
    // The client would wait for five seconds, and then say something else.
    await expect(log.peers && askStatus(log.peers, { timeoutMs: 500 })).rejects.toMatchObject({
      code: "LOG_UNREACHABLE",
      message: expect.stringContaining("did not respond in time") as string,
      hint: expect.stringContaining("--timeout") as string,
    });
  });

  it("hear from each other again after an outage of the server", async () => {
    const started = await startNatsServer();
    cleanups.push(() => started.close());
    const [asking, one] = await Promise.all([1, 2].map(() => openNatsTxLog({ servers: started.url })));
    if (asking?.peers === undefined || one?.peers === undefined) throw new Error("no logs");
    cleanups.push(
      () => asking.close(),
      () => one.close(),
    );
    await asking.create(() => bytes("birth"));
    echo(one.peers, "one");
    await started.kill();
    await started.start();
    const { peers } = asking;
    await vi.waitFor(async () => expect(await answersTo(peers, "again", 1)).toEqual(["one: again"]), {
      timeout: 30_000,
    });
  });
});

describe("a node without permissions", () => {
  it("learns once that it may not listen, and continues with its log", async () => {
    const url = await server(`{ subscribe: { deny: ["_CAIRN.>"] } }`);
    const admin = await open(url);
    await admin.log.create(() => bytes("birth"));
    const { log, peers } = await open(url, "reader");
    const refused: CairnError[] = [];
    echo(peers, "reader", refused);
    await vi.waitFor(() => expect(refused).toHaveLength(1), { timeout: 30_000 });
    expect(refused[0]).toMatchObject({
      code: "UNAUTHORIZED",
      hint: expect.stringContaining(ADDRESS) as string,
    });
    expect(await log.bounds()).toEqual({ first: 1, last: 1 });
    expect(await answersTo(admin.peers, "hello", 1)).toEqual([]);
    expect(refused).toHaveLength(1);
  });

  it("learns once that it may not respond", async () => {
    const url = await server(`{ publish: { deny: ["_INBOX.>"] } }`);
    const admin = await open(url);
    await admin.log.create(() => bytes("birth"));
    const { peers } = await open(url, "reader");
    const refused: CairnError[] = [];
    echo(peers, "reader", refused);
    await answersTo(admin.peers, "hello", 1);
    await answersTo(admin.peers, "hello", 1);
    await vi.waitFor(() => expect(refused).toMatchObject([{ code: "UNAUTHORIZED", message: /publish/ }]), {
      timeout: 30_000,
    });
  });

  it("learns that it may not send requests", async () => {
    const url = await server(`{ publish: { deny: ["_CAIRN.>"] } }`);
    const admin = await open(url);
    await admin.log.create(() => bytes("birth"));
    echo(admin.peers, "admin");
    await heard(admin.log);
    const { peers } = await open(url, "reader");
    await expect(answersTo(peers, "hello", 1, 60_000)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
  });
});

describe("a question", () => {
  it("is not published if the log's stream would store it", async () => {
    const url = await server();
    const client = await connect({ servers: url, user: "admin", pass: "a" });
    const manager = await client.jetstreamManager();
    await manager.streams.add({ name: "cairn", subjects: ["cairn.tx", "_CAIRN.>"] });
    await client.close();
    const { log, peers } = await open(url);
    await log.create(() => bytes("birth"));
    await expect(answersTo(peers, "hello")).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    expect(await log.bounds()).toEqual({ first: 1, last: 1 });
  });
});
