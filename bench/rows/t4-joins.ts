import { randomUUID } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import {
  BACKUP_EVERY,
  backedUp,
  type BesideT4,
  cairnServer,
  countUnreadable,
  putEach,
  saveCheckpoint,
  uploadedLog,
} from "../data/beside-t4.ts";
import type { BucketPlace } from "../data/bucket.ts";
import type { NodeChoice } from "../data/node-config.ts";
import { settle, touchPages } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { joinAsProcess, startNodeProcess } from "../harness/node-process.ts";
import { peakMemory } from "../harness/peak-memory.ts";
import type { Contestant } from "../harness/row.ts";
import { LATE_UPLOAD, NO_CHECKPOINTS, startT4, type T4Choice } from "../harness/t4.ts";

/** The number of transactions after the checkpoint: what one client of T4 puts in half a minute. */
const TAIL = 15_066;

const POLL_MS = 100;

export const JOIN_CAIRN = `join, ${TAIL} puts after the checkpoint: cairn`;
export const JOIN_T4 = `join, ${TAIL} puts after the checkpoint: T4`;
export const EVEN_CAIRN = "join, none after it: cairn";
export const EVEN_T4 = "join, none after it: T4";
export const LOG_CAIRN = "the log in S3 alone: cairn";
export const LOG_T4 = "the log in S3 alone: T4";

/** Nodes with a wiped disk that join from S3, with and without a checkpoint. */
export async function joinContestants(beside: BesideT4): Promise<Contestant[]> {
  const { records } = beside;
  const cairn = await fillCairn(beside);
  const t4 = await fillT4(beside);
  const all = records + TAIL;
  const attached = { firstRead: "/api/v1/ycsb/default/k0000000000000000?stale=true", documents: all };
  const ofCairn = (name: string, choice: Omit<Parameters<typeof joinAsProcess>[0], "dir">): Contestant => ({
    name,
    run: () => inNewFolder(beside, (dir) => joinAsProcess({ dir, ...choice })),
  });
  const ofT4 = (name: string, place: BucketPlace, last: number): Contestant => ({
    name,
    run: () => inNewFolder(beside, (dir) => joinT4(beside, { dir, place }, last)),
  });
  const { log } = cairn;
  return [
    ofCairn(JOIN_CAIRN, { log, checkpoints: cairn.before, ...attached }),
    ofT4(JOIN_T4, t4.tail, all - 1),
    ofCairn(EVEN_CAIRN, { log, checkpoints: cairn.after, ...attached }),
    ofT4(EVEN_T4, t4.checkpoint, records - 1),
    ofCairn(LOG_CAIRN, { fromBackup: cairn.before, documents: records }),
    ofT4(LOG_T4, t4.log, records - 1),
  ];
}

async function inNewFolder(
  { workspace }: BesideT4,
  measure: (dir: string) => Promise<Figures>,
): Promise<Figures> {
  const dir = workspace.fresh("joining");
  await mkdir(dir);
  await settle();
  const figures = await measure(dir);
  await rm(dir, { recursive: true });
  return figures;
}

/** Measures how a node joins, and checks that it has the newest record. It answers no read before it has all. */
async function joinT4(beside: BesideT4, choice: T4Choice, last: number): Promise<Figures> {
  await touchPages();
  const t4 = await startT4(beside.program, { ...choice, flags: [LATE_UPLOAD, NO_CHECKPOINTS] });
  try {
    const peak = peakMemory(t4.pid);
    const missing = await countUnreadable(beside, t4.client, { from: last, records: 1 });
    if (missing > 0) throw new Error("T4 joined without its newest record");
    return { s: t4.startSeconds, "peak MB": peak };
  } finally {
    await t4.stop();
  }
}

/**
 * Fills a log on NATS. The checkpoint at `before` does not contain the last {@link TAIL} transactions, nor does the
 * backup of the log beside it; the one at `after` does.
 */
async function fillCairn(
  beside: BesideT4,
): Promise<{ readonly log: { url: string; stream: string }; before: BucketPlace; after: BucketPlace }> {
  const { workspace, newPlace, records } = beside;
  const { url } = await workspace.natsServer();
  const log = { url, stream: `beside-t4-${randomUUID()}` };
  const [before, after] = [newPlace(), newPlace()];
  const dir = workspace.fresh("filling");
  await mkdir(dir);
  const running = async (
    choice: Partial<NodeChoice>,
    work: (node: Awaited<ReturnType<typeof startNodeProcess>>) => Promise<unknown>,
  ): Promise<void> => {
    const node = await startNodeProcess({ dir, log, ...choice });
    try {
      await work(node);
    } finally {
      await node.stop();
    }
  };
  workspace.onProgress(`putting ${records} records: cairn`);
  await running({ checkpoints: before, backUp: BACKUP_EVERY }, async (node) => {
    await putEach(beside, cairnServer(node), { records });
    await backedUp(node);
    await saveCheckpoint(node);
  });
  await running({}, (node) => putEach(beside, cairnServer(node), { from: records, records: TAIL }));
  await running({ checkpoints: after }, saveCheckpoint);
  await rm(dir, { recursive: true });
  return { log, before, after };
}

async function segments({ server }: BesideT4, place: BucketPlace): Promise<number> {
  return [...(await server.objects(place)).keys()].filter((name) => name.startsWith("wal/")).length;
}

/**
 * Fills places in S3 with T4's `log` alone, with a `checkpoint` of it, whose log was removed, and with that checkpoint and
 * a `tail` of the log, of which each put was uploaded before it was acknowledged (T4's default).
 */
async function fillT4(
  beside: BesideT4,
): Promise<Readonly<Record<"log" | "checkpoint" | "tail", BucketPlace>>> {
  const { workspace, program, server, newPlace, records } = beside;
  const [log, checkpoint, tail] = [newPlace(), newPlace(), newPlace()];
  const dir = workspace.fresh("filling");
  await mkdir(dir);
  const running = async (
    place: BucketPlace,
    flags: readonly string[],
    work: (t4: Awaited<ReturnType<typeof startT4>>) => Promise<unknown>,
  ): Promise<void> => {
    const t4 = await startT4(program, { dir, place, flags });
    try {
      await work(t4);
      await uploadedLog(dir);
    } finally {
      await t4.stop();
    }
  };
  workspace.onProgress(`putting ${records} records: T4`);
  await running(log, [LATE_UPLOAD, NO_CHECKPOINTS], (t4) => putEach(beside, t4.client, { records }));
  await server.copy(log, checkpoint);
  // Unlike the checkpoint after a start, one that a put begins removes the log that it covers.
  await running(checkpoint, [LATE_UPLOAD, "--checkpoint-entries=1"], async (t4) => {
    await t4.checkpoints(1);
    await putEach(beside, t4.client, { records: 1, workers: 1 });
    await t4.checkpoints(2);
    while ((await segments(beside, checkpoint)) > 1) await delay(POLL_MS);
  });
  await server.copy(checkpoint, tail);
  await running(tail, [NO_CHECKPOINTS], (t4) =>
    putEach(beside, t4.client, { from: records, records: TAIL, workers: 1 }),
  );
  await rm(dir, { recursive: true });
  return { log, checkpoint, tail };
}
