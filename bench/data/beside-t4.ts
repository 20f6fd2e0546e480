import { randomUUID } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NodeStatus } from "@cairn/node";
import type { ServerProcess } from "../harness/node-process.ts";
import { buildT4 } from "../harness/t4.ts";
import { buildYcsb, type Ycsb, type YcsbFigures, type YcsbServer } from "../harness/ycsb.ts";
import { type BucketPlace, BucketServer } from "./bucket.ts";
import type { Workspace } from "./workspace.ts";

/** What is needed to measure Cairn beside T4, until the workspace is closed. */
export interface BesideT4 {
  readonly workspace: Workspace;
  /** The path of T4. */
  readonly program: string;
  readonly clients: Ycsb;
  readonly server: BucketServer;
  /** Returns a new location in S3, which is emptied in the end. */
  readonly newPlace: () => BucketPlace;
  /** The number of records that both have. */
  readonly records: number;
}

/** The interval between backups of Cairn's log: T4 uploads a segment of its log at least as often. */
export const BACKUP_EVERY = "PT10S";
/** A document has 275 bytes. */
export const DOCUMENT = { fields: 1, characters: 261 };
export const CONNECTIONS = 32;
const POLL_MS = 20;
/** The size of an empty segment of T4's log. */
const SEGMENT_HEAD_BYTES = 24;

export async function openBesideT4(workspace: Workspace, records: number): Promise<BesideT4> {
  // T4 closes itself after a request that the small service in localstack/ does not know.
  if (process.env["CAIRN_TEST_S3_ENDPOINT"] === undefined)
    throw new Error('T4 needs a real S3 server: eval "$(localstack/fetched/versitygw.sh up)" starts one');
  const clients = await buildYcsb(workspace);
  const program = await buildT4(workspace);
  const server = await BucketServer.start();
  const places: BucketPlace[] = [];
  workspace.atClose(async () => {
    for (const place of places) await server.empty(place);
    await server.close();
  });
  const newPlace = (): BucketPlace => {
    const place = server.place(randomUUID());
    places.push(place);
    return place;
  };
  return { workspace, program, clients, server, newPlace, records };
}

/** Puts records, each in its own transaction, on 32 connections unless `options` say otherwise. */
export async function putEach(
  { clients }: BesideT4,
  server: YcsbServer,
  options: Parameters<Ycsb>[1],
): Promise<YcsbFigures> {
  return await clients(server, { workload: "load", batch: 1, workers: CONNECTIONS, ...DOCUMENT, ...options });
}

/** Reads each of some records once. Returns the number that could not be read. */
export async function countUnreadable(
  { clients }: BesideT4,
  server: YcsbServer,
  options: Parameters<Ycsb>[1],
): Promise<number> {
  const { operations, failed } = await clients(server, { workload: "check", tolerate: "5s", ...options });
  if (operations + failed !== options["records"])
    throw new Error(`only ${operations + failed} records were read`);
  return failed;
}

/** Returns a node as the clients reach it. */
export function cairnServer({ port, pid }: ServerProcess): YcsbServer {
  return { kind: "cairn", port, pid };
}

export async function statusOf({ port }: ServerProcess): Promise<NodeStatus> {
  return (await (await fetch(`http://127.0.0.1:${port}/status`)).json()) as NodeStatus;
}

async function until(node: ServerProcess, isReached: (status: NodeStatus) => boolean): Promise<void> {
  while (!isReached(await statusOf(node))) await delay(POLL_MS);
}

/** Waits until a node has looked at its checkpoints by itself, after which it saves none for hours unless asked. */
export async function firstLook(node: ServerProcess): Promise<void> {
  await until(node, ({ checkpoints }) => checkpoints.lastCheckAt !== null && checkpoints.running === null);
}

/** Waits until the backup of a node's log holds all transactions. */
export async function backedUp(node: ServerProcess): Promise<void> {
  await until(node, ({ log, logBackup }) => {
    const last = logBackup?.covered?.at(-1)?.last;
    return last !== undefined && log.lastTxId !== null && last >= log.lastTxId;
  });
}

/** Makes a node save a checkpoint, unless its newest one contains everything. Returns the size of the newest. */
export async function saveCheckpoint(node: ServerProcess): Promise<number> {
  const url = `http://127.0.0.1:${node.port}/api/v1/checkpoints?await=true`;
  const response = await fetch(url, { method: "POST" });
  if (!response.ok) throw new Error(`no checkpoint was saved: ${await response.text()}`);
  return (await statusOf(node)).checkpoints.last?.bytes ?? Number.NaN;
}

/** Waits until T4 has uploaded its log, after which it keeps no more of it than the head of the next segment. */
export async function uploadedLog(dir: string): Promise<void> {
  const folder = join(dir, "data", "wal");
  const isLeft = async (): Promise<boolean> => {
    for (const name of await readdir(folder)) {
      const found = await stat(join(folder, name)).catch(() => undefined);
      if (found !== undefined && found.size > SEGMENT_HEAD_BYTES) return true;
    }
    return false;
  };
  while (await isLeft()) await delay(POLL_MS);
}
