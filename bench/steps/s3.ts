import { link, mkdir, open, readdir } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { S3 } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import {
  type CheckpointSource,
  type CheckpointStore,
  restoreCheckpoint,
  takeCheckpoint,
} from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import type { BucketPlace } from "../data/bucket.ts";
import { peakMemory, resetPeakMemory } from "../harness/peak-memory.ts";
import type { Figures } from "../harness/figures.ts";

const MIB = 1024 * 1024;
/** Cairn's defaults, so that both sides have the same number of bytes in flight. */
const PART_BYTES = 8 * MIB;
const CONCURRENT_PARTS = 4;
const TABLES = { index: 1, kv: "bench/1" };

/** Saves a directory of files as a checkpoint, from the capture to the published manifest. */
export async function saveToS3(input: {
  readonly place: BucketPlace;
  readonly files: string;
  readonly dir: string;
}): Promise<Figures> {
  const store = s3Store(input.place);
  // Connects and probes the service, because a node has already done so when it saves.
  await store.create("warm.json", "{}");
  const figures = await measured(async () => {
    const outcome = await takeCheckpoint({
      source: sourceOf(input.files),
      forced: true,
      options: { store, approxFrequency: 1, checkpointDir: join(input.dir, "capture"), compression: "none" },
    });
    if (outcome.outcome !== "taken") throw new Error(`nothing was saved: ${outcome.because}`);
    return outcome.checkpoint.manifest.archive.bytes;
  });
  await store.close();
  return figures;
}

/** Restores what {@link saveToS3} has saved, and verifies every digest. */
export async function restoreFromS3(input: {
  readonly place: BucketPlace;
  readonly dir: string;
}): Promise<Figures> {
  const store = s3Store(input.place);
  await store.list("");
  const figures = await measured(() => restoreBelow(store, input.dir));
  await store.close();
  return figures;
}

/** Uploads a file with the SDK's own upload. */
export async function uploadPlainly(input: {
  readonly place: BucketPlace;
  readonly file: string;
}): Promise<Figures> {
  const client = await connect(input.place);
  const { bucket: Bucket, prefix } = input.place;
  const figures = await measured(async () => {
    const Body = createReadStream(input.file, { highWaterMark: MIB });
    const params = { Bucket, Key: `${prefix}/plain.tar`, Body };
    await new Upload({ client, params, partSize: PART_BYTES, queueSize: CONCURRENT_PARTS }).done();
    return Body.bytesRead;
  });
  client.destroy();
  return figures;
}

/** Downloads that file in parallel ranges without verifying it. */
export async function downloadPlainly(input: {
  readonly place: BucketPlace;
  readonly file: string;
}): Promise<Figures> {
  const client = await connect(input.place);
  const { bucket: Bucket, prefix } = input.place;
  const object = { Bucket, Key: `${prefix}/plain.tar` };
  const figures = await measured(async () => {
    const { ContentLength: bytes = 0, ETag } = await client.headObject(object);
    const file = await open(input.file, "w");
    let next = 0;
    const fetchRanges = async (): Promise<void> => {
      while (next < bytes) {
        const start = next;
        next += PART_BYTES;
        const Range = `bytes=${start}-${Math.min(next, bytes) - 1}`;
        const { Body } = await client.getObject({ ...object, Range, IfMatch: ETag });
        const content = await Body?.transformToByteArray();
        if (content === undefined) throw new Error(`the range ${Range} is missing`);
        await file.write(content, 0, content.length, start);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENT_PARTS }, fetchRanges));
    // The file is flushed, as a restore would flush it.
    await file.sync();
    await file.close();
    return bytes;
  });
  client.destroy();
  return figures;
}

async function connect({ endpoint, region, credentials, bucket }: BucketPlace): Promise<S3> {
  const client = new S3({
    endpoint,
    region,
    credentials,
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  await client.headBucket({ Bucket: bucket });
  return client;
}

async function restoreBelow(store: CheckpointStore, dir: string): Promise<number> {
  const { restored } = await restoreCheckpoint({
    stores: [store],
    stagingDir: join(dir, "staging"),
    targetDir: join(dir, "live"),
    node: "bench",
    accept: () => Promise.resolve(true),
  });
  if (restored === undefined) throw new Error("there was nothing to restore");
  return restored.manifest.archive.bytes;
}

async function measured(work: () => Promise<number>): Promise<Figures> {
  const idle = resetPeakMemory();
  const begin = performance.now();
  const bytes = await work();
  const seconds = (performance.now() - begin) / 1000;
  const peak = peakMemory();
  return { s: seconds, "MB/s": bytes / 1_000_000 / seconds, "peak MB": peak, "MB above idle": peak - idle };
}

/** Returns a source whose capture consists of hard links to a directory's files. */
function sourceOf(files: string): CheckpointSource {
  const log = { id: "bench", name: "bench", offset: 0 };
  return {
    node: "bench",
    version: "bench",
    position: async () => ({ logId: log.id, txId: 1 }),
    async capture(dir) {
      await mkdir(dir);
      for (const name of await readdir(files)) await link(join(files, name), join(dir, name));
      const txTime = new Date(0).toISOString();
      const anchor = { txId: 1, sha256: "0".repeat(64) };
      return { format: TABLES, log, txId: 1, txTime, anchor, chains: [], purged: 1, documents: 0 };
    },
  };
}
