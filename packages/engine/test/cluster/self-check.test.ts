// @module-tag nats
import { readdir } from "node:fs/promises";
import { Writable } from "node:stream";
import { type Logger, pino } from "pino";
import { CairnError } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { askEach, type AskOptions, type Peer } from "../../src/cluster/ask-cluster.ts";
import { decodeAnswer, encodeMessage } from "../../src/cluster/peer-messages.ts";
import { documentRowKey } from "../../src/index/rows/row-keys.ts";
import { IndexDirectory } from "../../src/db-dir/index-directory.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { PeerChannel } from "../../src/log/peer-channel.ts";
import type { TxLog } from "../../src/log/tx-log.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let scene: ClusterScene;
let log: TxLog;
let lines: { readonly msg: string; readonly code?: string; readonly hint?: string }[] = [];
beforeEach(async () => {
  lines = [];
  scene = await ClusterScene.open();
  log = await openNatsTxLog({ servers: [scene.nats.url] });
});
afterEach(async () => {
  await log.close();
  await scene.close();
});

const SOON = { timeoutMs: 700 };
interface Asked {
  readonly log: string;
  readonly txId: number;
}

async function askCheck(through: PeerChannel, asked: Peer, about: Asked, options: AskOptions) {
  const question = { ask: "check", ...about, instance: asked.instance } as const;
  return (await askEach(through, [asked], question, options)).get(asked.instance) ?? {};
}

async function askDigests(
  through: PeerChannel,
  peers: readonly Peer[],
  question: Asked & { readonly waitMs: number },
  options: AskOptions,
) {
  return await askEach(through, peers, { ask: "digest", ...question }, options);
}

const LONG = { timeoutMs: 60_000 };
const STATUS = encodeMessage({ cairn: 1, ask: "status" });

function channel(): PeerChannel {
  if (log.peers === undefined) throw new Error("a log on NATS connects nodes");
  return log.peers;
}

function logger(): Logger {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as (typeof lines)[number]);
      done();
    },
  });
  return pino(stream);
}

async function peer(node: string): Promise<Peer> {
  return await vi.waitFor(async () => {
    // Unlike askStatus, this waits for no other node.
    for await (const bytes of channel().ask(STATUS, AbortSignal.timeout(SOON.timeoutMs))) {
      const answer = decodeAnswer(bytes);
      if (answer?.node === node && answer.status !== undefined) return { ...answer, status: answer.status };
    }
    throw new Error(`${node} does not answer`);
  });
}

async function alter(place: string, name: string): Promise<void> {
  const key = documentRowKey("things", `default/${name}`);
  await scene.alter(place, key, (text) => text.replace("right", "wrong"));
}

function logId({ status }: Peer): string {
  return status.log.id ?? "";
}

describe("a node that is requested to compare itself with the log", () => {
  it("keeps an index that agrees", async () => {
    const a = await scene.ready("a");
    const txId = await put(a, 0, 5, "right");
    const asked = await peer("a");
    const { check } = await askCheck(channel(), asked, { log: logId(asked), txId: 4 }, LONG);
    expect(check).toMatchObject({ txId: 4, agrees: true, digest: (await scene.fold(4)).digest() });
    expect((await a.status()).join.movedAside).toEqual([]);
    expect(a.phase).toBe("ready");
    expect((await a.digest()).txId).toBe(txId);
    expect(await readdir(scene.dbDir("a"))).not.toContain("rebuild");
  });

  it("compares chains if its history no longer covers the transaction", async () => {
    const a = await scene.ready("a");
    const txId = await put(a, 0, 5, "right");
    await a.await((await a.submit({ ops: [["evict", "things", "default/k2"]] })).txId);
    const asked = await peer("a");
    const { check } = await askCheck(channel(), asked, { log: logId(asked), txId }, LONG);
    expect(check).toMatchObject({ txId, agrees: true, rebuilt: (await scene.fold(txId)).digest() });
  });

  it(
    "reports INDEX_CORRUPT in its log and status, with a remedy, and agrees at the next request",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const txId = await put(a, 0, 5, "right");
      await scene.stop(a);
      await alter("a", "k2");
      const altered = await scene.ready("a", { logger: logger() });
      const asked = await peer("a");
      const first = await askCheck(channel(), asked, { log: logId(asked), txId }, LONG);
      expect(first.check).toMatchObject({ agrees: false, rebuilt: (await scene.fold(txId)).digest() });
      await vi.waitFor(async () => expect((await altered.status()).join.movedAside).toHaveLength(1));
      await vi.waitFor(() => expect(altered.phase).toBe("ready"));
      expect(lines.find(({ code }) => code === "INDEX_CORRUPT")).toMatchObject({
        msg: expect.stringMatching(/^At transaction 6 the index has the digest sha256:/) as string,
        hint: expect.stringContaining("cairn checkpoint create") as string,
      });
      const again = await askCheck(channel(), asked, { log: logId(asked), txId }, LONG);
      expect(again.check?.agrees).toBe(true);
    },
  );

  it("does not serve a wrong index even after a restart, if it ended before the index was moved aside", async () => {
    const a = await scene.ready("a");
    const txId = await put(a, 0, 5, "right");
    await scene.stop(a);
    await alter("a", "k2");
    const directory = await IndexDirectory.acquire(scene.dbDir("a"));
    await directory.distrust(new CairnError("INDEX_CORRUPT", "Another digest than the log's."));
    await directory.release();
    const again = await scene.ready("a");
    expect((await again.status()).join.movedAside).toMatchObject([{ code: "INDEX_CORRUPT" }]);
    expect(await again.digest()).toEqual({ txId, digest: (await scene.fold(txId)).digest() });
    await scene.stop(again);
    expect((await (await scene.ready("a")).status()).join.movedAside).toEqual([]);
  });

  it("keeps its index if there is nothing to rebuild from, and reports what is missing", async () => {
    const a = await scene.ready("a");
    const txId = await put(a, 0, 5, "right");
    await saveCheckpoint(a);
    await NatsOperator.at(scene.nats.url, async (nats) => await nats.purgeBefore(3));
    const asked = await peer("a");
    const { error, check } = await askCheck(channel(), asked, { log: logId(asked), txId }, LONG);
    expect(check).toBeUndefined();
    expect(error).toMatchObject({
      code: "LOG_TRIMMED",
      hint: expect.stringContaining("Save a checkpoint") as string,
    });
    expect(a.phase).toBe("ready");
  });

  it("does nothing for another instance or another log", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a");
    const txId = await put(a, 0, 5, "right");
    const asked = await peer("a");
    const other = { ...asked, instance: "another" };
    const { error } = await askCheck(channel(), other, { log: logId(asked), txId }, SOON);
    expect(error?.message).toContain("stopped responding");
    const digests = await askDigests(channel(), [asked], { log: "another", txId, waitMs: 100 }, LONG);
    expect(digests.get(asked.instance)?.error).toMatchObject({ code: "LOG_DIFFERENT" });
  });

  it("can be stopped in the middle of a rebuild", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a");
    const txId = await put(a, 0, 1_500, "right");
    const asked = await peer("a");
    const begun = vi.fn<() => void>();
    const checking = askCheck(
      channel(),
      asked,
      { log: logId(asked), txId },
      { timeoutMs: 1_500, onWork: begun },
    );
    await vi.waitFor(() => expect(begun).toHaveBeenCalled(), { timeout: 30_000 });
    await scene.stop(a);
    await checking;
    const again = await scene.ready("a");
    expect((await again.digest()).txId).toBe(txId);
    expect(await readdir(scene.dbDir("a"))).not.toContain("rebuild");
  });
});

describe("a node whose digest is requested", () => {
  it(
    "waits until it has the transaction, and reports its position if that takes too long",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      await put(a, 0, 5, "right");
      const asked = await peer("a");
      const question = { log: logId(asked), txId: 9 };
      const soon = await askDigests(channel(), [asked], { ...question, waitMs: 200 }, LONG);
      expect(soon.get(asked.instance)?.error).toMatchObject({
        code: "TX_TIMEOUT",
        message: expect.stringContaining("this node has indexed up to 6") as string,
      });
      const later = askDigests(channel(), [asked], { ...question, waitMs: 50_000 }, LONG);
      await put(a, 5, 9, "right");
      expect((await later).get(asked.instance)?.digest).toEqual({
        txId: 9,
        digest: (await scene.fold(9)).digest(),
      });
    },
  );

  it(
    "has no digest of an index that does not match the log and is open only for stale reads",
    { tags: "rest/slow" },
    async () => {
      const a = await scene.ready("a");
      const txId = await put(a, 0, 5, "right");
      const old = logId(await peer("a"));
      await scene.stop(a);
      await NatsOperator.at(scene.nats.url, async (nats) => await nats.deleteStream());
      // It begins a log on purpose, although the index of the other one is in the same folder.
      await scene.ready("b", { parts: { onLogMismatch: { regressed: "rebuild", different: "rebuild" } } });
      const failed = await scene.start("a");
      await vi.waitFor(() => expect(failed.phase).toBe("failed"));
      const key = { bucket: "things", namespace: "default", name: "k2" };
      expect(await failed.get(key, { stale: true })).toMatchObject({ json: '"right"' });
      const asked = await peer("a");
      const answers = await askDigests(channel(), [asked], { log: old, txId, waitMs: 100 }, LONG);
      expect(answers.get(asked.instance)).toMatchObject({ error: { code: "NOT_READY" } });
    },
  );

  it("refuses a flood of requests", { tags: "rest/slow" }, async () => {
    const a = await scene.ready("a");
    await put(a, 0, 2, "right");
    const asked = await peer("a");
    const question = { log: logId(asked), txId: 100, waitMs: 1_000 };
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => askDigests(channel(), [asked], question, { timeoutMs: 30_000 })),
    );
    const codes = answers.map((answer) => answer.get(asked.instance)?.error?.code);
    expect(codes.filter((code) => code === "CONFLICT")).toHaveLength(4);
    expect(codes.filter((code) => code === "TX_TIMEOUT")).toHaveLength(8);
  });

  it("ignores messages that are not requests", { tags: "rest/slow" }, async () => {
    await scene.ready("a");
    const texts = ["", "no JSON", "{}", '{"cairn":2,"ask":"status"}', '{"cairn":1,"ask":"rm"}'];
    await Promise.all(
      texts.map(async (text) => {
        const answers: unknown[] = [];
        for await (const answer of channel().ask(Buffer.from(text), AbortSignal.timeout(200)))
          answers.push(answer);
        expect(answers).toEqual([]);
      }),
    );
    for await (const answer of channel().ask(STATUS, AbortSignal.timeout(SOON.timeoutMs))) {
      expect(JSON.parse(Buffer.from(answer).toString())).toMatchObject({
        cairn: 1,
        node: "a",
        pid: process.pid,
      });
    }
  });
});
