// @module-tag nats
import { setTimeout as delay } from "node:timers/promises";
import type { CheckpointStore } from "@cairn/checkpoint";
import type { TxId } from "@cairn/client";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { LogFold } from "../../testing/log-fold.ts";
import { NatsOperator } from "@cairn/log-nats/testing";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { writeSegment } from "../../src/backup/write/write-segments.ts";
import { takeMessages } from "../../testing/log-messages.ts";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { readerParts } from "./reader-scene.ts";
import { ALL, GET_AND_LIST, type S3Gate, s3Service } from "./s3-gate.ts";

const MINUTES = Number(process.env["CAIRN_SOAK_MINUTES"] ?? 0);
/**
 * The maximum number of digests that are compared. Each costs a pass over the whole history, so comparing all of an
 * hour's digests would take longer than the hour.
 */
const MAX_COMPARED = 300;
/** Rounds 3 and 6 restart the reader. */
const MIN_ROUNDS = 6;
/** The pause between digests (ms). */
const PAUSE_MS = MINUTES > 0 ? 100 : 20;
/** Segments are merged, and then removed, once there are more than 64 of them. */
const logBackup = { every: MINUTES > 0 ? 100 : 20, keep: "all", codec: "none" } as const;
const TINY = 60;
const KEYS = 50;

describe("a node that follows a backup in S3 with permission only to read and list", () => {
  let scene: ClusterScene;
  let reading: S3Gate;
  let lines: string[];
  beforeEach(async () => {
    scene = await ClusterScene.open();
    lines = [];
  });
  afterEach(() => scene.close());

  /** Writes transactions to a new log, and each of its messages to its own segment, so that nodes soon merge them. */
  const writeTinySegments = async (store: CheckpointStore): Promise<void> => {
    const node = await scene.ready("a");
    await put(node, 0, TINY, "early");
    await scene.stop(node);
    const log = await openNatsTxLog({ servers: [scene.nats.url] });
    const of = { id: (await log.id()) ?? "", name: log.name, offset: 0 };
    const { signal } = new AbortController();
    const target = { store, log, of, node: "a", codec: "none", signal, storeNow: Date.now } as const;
    const messages = await takeMessages(log, 1, TINY + 1);
    for (let at = 0; at < messages.length; at += 10) {
      const some = messages.slice(at, at + 10);
      await Promise.all(some.map((message) => writeSegment(target, undefined, [message])));
    }
    await log.close();
  };

  const startReader = async (place: string): Promise<CairnNode> => {
    const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
    return await scene.ready("reader", { place, logger, parts: readerParts(reading.store()) });
  };

  /** Reads with restarts for `rounds` and `minMinutes`, and unless it is one round, until merged segments were removed. */
  const expectDigests = async (rounds: number, minMinutes: number): Promise<void> => {
    const open = await s3Service();
    const writing = await open(ALL);
    reading = await open(GET_AND_LIST);
    await writeTinySegments(writing.store());
    const writers = await Promise.all(
      ["a", "b"].map((id) => scene.ready(id, { store: writing.store(), parts: { logBackup } })),
    );
    let isOver = false;
    const write = async (node: CairnNode): Promise<TxId> => {
      for (let n = 0; ; n += 1) {
        const { txId } = await node.submit({
          ops: [["put", "things", `default/k${n % KEYS}`, `${node.id} ${n}`]],
        });
        await node.await(txId);
        if (isOver) return txId;
        await delay(5);
      }
    };
    const written = Promise.all(writers.map(write));
    const isSeen = (): boolean =>
      rounds === 1 || writing.asked.some(({ kind, key }) => kind === "delete" && key.endsWith(".segment"));
    await vi.waitFor(
      () => expect(writing.asked.some(({ key }) => key.endsWith(".segment"))).toBe(true),
      20_000,
    );

    let reader = await startReader("reader");
    const digests = new Map<TxId, string>();
    const begun = performance.now();
    const minutes = (): number => (performance.now() - begun) / 60_000;
    for (let round = 1; round <= rounds || minutes() < minMinutes || !isSeen(); round += 1) {
      if (MINUTES > 0 && round % 60 === 0)
        console.log(`minute ${Math.floor(minutes())}: ${digests.size} digests, ${reader.phase}`);
      for (let look = 0; look < 10; look += 1) {
        const { txId, digest } = await reader.digest();
        digests.set(txId, digest);
        await delay(PAUSE_MS);
      }
      if (round % 5 === 1) await writers[0]?.checkpoint().done;
      if (round % 3 !== 0) continue;
      await scene.stop(reader);
      // Every other time, the reader joins from scratch.
      reader = await startReader(round % 2 === 0 ? "reader" : `reader-${round}`);
    }
    isOver = true;
    const last = Math.max(...(await written));
    await reader.await(last, { timeoutMs: 60_000 });
    const end = await reader.digest();
    digests.set(end.txId, end.digest);
    // Folding keeps this process busy, which a running node would report.
    await scene.stop(reader);

    const every = Math.ceil(digests.size / MAX_COMPARED);
    for (const [index, txId] of [...digests.keys()].toReversed().entries())
      if (index % every !== 0) digests.delete(txId);
    const fold = new LogFold();
    await NatsOperator.at(scene.nats.url, async (nats) => {
      for await (const message of nats.messages()) {
        fold.apply(message);
        const seen = digests.get(fold.txId);
        if (seen === undefined) continue;
        expect([fold.txId, seen]).toEqual([fold.txId, fold.digest()]);
        digests.delete(fold.txId);
      }
    });
    expect([...digests.keys()]).toEqual([]);
    expect(end.txId).toBe(last);
    expect(new Set(reading.asked.map(({ kind }) => kind))).toEqual(new Set(["list", "get"]));
    expect(lines).toEqual([]);
  };

  it(
    "has the digest of each prefix of the log while segments are written",
    { tags: "rest/slow" },
    async () => {
      await expectDigests(1, 0);
    },
  );

  it(
    "has the digest of each prefix of the log while segments are written, merged and removed, even after restarts",
    // Folding the whole log at the end takes a small part of the time in which it was written.
    { tags: "rest/campaign", timeout: 180_000 + MINUTES * 90_000 },
    async () => {
      await expectDigests(MIN_ROUNDS, MINUTES);
    },
  );
});
