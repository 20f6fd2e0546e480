import type { CheckpointStore } from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { openCheckpoint, type OpenedCheckpoint } from "@cairn/node";
import type { BucketPlace } from "../data/bucket.ts";
import { type EnlargedCheckpoint, enlargedStore } from "../data/enlarged-checkpoint.ts";
import { itemAddress } from "../data/workloads.ts";
import type { Figures } from "../harness/figures.ts";
import { percentiles } from "../harness/latencies.ts";
import { peakMemory, resetPeakMemory } from "../harness/peak-memory.ts";

const READERS = 32;
const READS_FROM_COLD = 2_000;
const READS = 3_000;
const SINGLE_READS = 100;
/** How often a checkpoint is opened again, for the first read of each opening. */
const OPENINGS = 10;

interface ReadInput {
  readonly place: BucketPlace;
  readonly name: string;
  /** The size of the write-ahead logs in the checkpoint. */
  readonly logBytes: number;
  /** The number of documents, of which random ones are read. */
  readonly keys: number;
}

/** Opens a checkpoint where it is, and reads random documents of it: nothing is kept at first, and more and more later. */
export async function readCheckpoint({ place, name, logBytes, keys }: ReadInput): Promise<Figures> {
  const store = s3Store(place);
  const random = randomBelow(keys);
  const first = await openOnce(store, name, random);
  // The modules that any join needs as well are loaded now.
  const idle = resetPeakMemory();
  const opened = await openCheckpoint({ store, name });
  const cold = await readConcurrently(opened, random, SINGLE_READS, 1);
  const fromCold = await readConcurrently(opened, random, READS_FROM_COLD, READERS);
  const known = await readConcurrently(opened, random, READS, READERS);
  const single = await readConcurrently(opened, random, SINGLE_READS, 1);
  const peak = peakMemory();
  await opened.close();
  const again: Awaited<ReturnType<typeof openOnce>>[] = [];
  for (let left = OPENINGS; left > 0; left -= 1) again.push(await openOnce(store, name, random));
  await store.close();
  return {
    "opening, ms": first.opening,
    requests: first.requests,
    "MB without logs": (first.bytes - logBytes) / 1_000_000,
    "first GET, ms": first.get,
    "opening again, ms": percentiles(again.map(({ opening }) => opening))(0.5),
    "first GET again, ms": percentiles(again.map(({ get }) => get))(0.5),
    "cold GET p50, ms": cold.p50,
    "reads/s from cold": fromCold.perSecond,
    "reads/s": known.perSecond,
    "GET p50, ms": single.p50,
    "MB above idle": peak - idle,
  };
}

/** Opens a checkpoint that seems to have more tables than there are, and reads a document of it. */
export async function openEnlarged({
  checkpoint,
  logBytes,
  keys,
}: {
  readonly checkpoint: EnlargedCheckpoint;
} & Pick<ReadInput, "logBytes" | "keys">): Promise<Figures> {
  const store = enlargedStore(checkpoint);
  const first = await openOnce(store, checkpoint.name, randomBelow(keys));
  await store.close();
  return {
    "opening, ms": first.opening,
    requests: first.requests,
    "MB without logs": (first.bytes - logBytes) / 1_000_000,
    "first GET, ms": first.get,
  };
}

/** Opens a checkpoint, reads a document of it, and closes it. Returns durations in ms, and what the opening read. */
async function openOnce(
  store: CheckpointStore,
  name: string,
  random: () => number,
): Promise<{ opening: number; get: number; requests: number; bytes: number }> {
  const begin = performance.now();
  const opened = await openCheckpoint({ store, name });
  const openedAt = performance.now();
  const { requests, bytes } = opened.counts;
  await read(opened, random());
  const end = performance.now();
  await opened.close();
  return { opening: openedAt - begin, get: end - openedAt, requests, bytes };
}

async function readConcurrently(
  opened: OpenedCheckpoint,
  random: () => number,
  count: number,
  readers: number,
): Promise<{ readonly perSecond: number; readonly p50: number }> {
  const latencies: number[] = [];
  let left = count;
  const begin = performance.now();
  const reader = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const from = performance.now();
      await read(opened, random());
      latencies.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: readers }, reader));
  return { perSecond: (1_000 * count) / (performance.now() - begin), p50: percentiles(latencies)(0.5) };
}

async function read({ client }: OpenedCheckpoint, key: number): Promise<void> {
  const found = await client.get(...itemAddress(key));
  if (found === undefined) throw new Error(`the document ${key} is missing`);
}

/** Returns a function that returns random numbers below `limit`, which are the same in every run. */
export function randomBelow(limit: number): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
