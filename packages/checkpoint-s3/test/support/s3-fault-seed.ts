import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointStore } from "@cairn/checkpoint";
import { sweepStore } from "@cairn/checkpoint/src/retain/sweep";
import { contentsOf, digestsOf } from "@cairn/test-support/stores/places";
import { restore, take } from "@cairn/test-support/stores/rounds";
import type { S3FaultProxy } from "./s3-fault-proxy.ts";
import { type FaultPlan, seededFaults } from "./s3-faults.ts";
import type { S3Place } from "./s3-place.ts";
import type { S3RequestKind } from "./s3-request.ts";
import { testSource } from "@cairn/test-support/stores/test-source";

/** The outcome of one seed. */
export interface SeedOutcome {
  /** The results of the upload and of the restore: `ok`, or the code of the error. */
  readonly saved: string;
  readonly restored: string;
  readonly faults: number;
}

const MIB = 1024 * 1024;
/** A size that needs three parts, of which the last is short. */
const BYTES = 11 * MIB;
const SOME = 0.12;
const MOST = 0.95;
/** The kinds of requests that may fail nearly always. If the other kinds did, the next sweep could not clean up. */
const BROKEN: readonly S3RequestKind[] = ["begin", "part", "complete", "put", "get"];

/**
 * Returns a seed's faults. Some can occur at any request; with every third seed, most requests of one kind also fail.
 */
export function planOf(seed: number): FaultPlan {
  const some = seededFaults(seed, SOME);
  if (seed % 3 !== 0) return some;
  const most = seededFaults(seed, MOST);
  const broken = BROKEN[(seed / 3) % BROKEN.length];
  return (request) => (request.kind === broken ? most(request) : some(request));
}

/** Uploads and reads back through faults, using only a store. Throws if the outcome is not allowed. */
export async function uploadThroughFaults(
  seed: number,
  store: CheckpointStore,
  proxy: S3FaultProxy,
  place: S3Place,
): Promise<SeedOutcome> {
  const content = contentOf(seed);
  proxy.plan = planOf(seed);
  const saved = await codeOf(() => store.upload("a.tar", Readable.from(cut(content), { objectMode: false })));
  proxy.plan = () => undefined;
  const lying = (await place.lying(proxy.begun)).filter((name) => !name.startsWith(".probe-"));
  const wanted = saved === "ok" ? ["a.tar"] : [];
  if (lying.join() !== wanted.join()) throw new Error(`${saved} left ${lying.join()}`);
  if (saved !== "ok") await store.upload("a.tar", Readable.from(cut(content), { objectMode: false }));
  proxy.plan = planOf(seed);
  const hash = createHash("sha256");
  const restored = await codeOf(async () => {
    for await (const piece of await store.open("a.tar")) hash.update(piece as Buffer);
  });
  proxy.plan = () => undefined;
  const wrong = restored === "ok" && hash.digest("hex") !== digestOf(content);
  if (wrong) throw new Error("other bytes came back");
  return { saved, restored, faults: proxy.happened.length };
}

/**
 * Like {@link uploadThroughFaults}, but with whole rounds: the lease, the archive, the manifest and the reservation.
 */
export async function roundThroughFaults(
  seed: number,
  store: CheckpointStore,
  proxy: S3FaultProxy,
  place: S3Place,
  dir: string,
): Promise<SeedOutcome> {
  const source = testSource();
  source.files = { CURRENT: Buffer.from("MANIFEST-1\n"), "000001.ldb": contentOf(seed) };
  proxy.plan = planOf(seed);
  const saved = await codeOf(async () => {
    const { outcome } = await take(store, source, dir);
    if (outcome !== "taken") throw new CairnError("CONFLICT", "Another process seems to be uploading.");
  });
  proxy.plan = () => undefined;
  const lying = await place.lying(proxy.begun);
  const unfinished = lying.filter((name) => name.endsWith("?uploads"));
  if (unfinished.length > 0) throw new Error(`${saved} left ${unfinished.join()}`);
  const manifests = lying.filter((name) => /^checkpoint-.*Z-[0-9a-f]{8}\.json$/.test(name));
  if (saved === "ok" && manifests.length !== 1) throw new Error(`there are ${manifests.length} manifests`);
  proxy.plan = planOf(seed);
  const restored = await codeOf(async () => {
    const { restored: found } = await restore([store], dir);
    if (found === undefined) throw new CairnError("CHECKPOINT_NOT_FOUND", "Nothing was restored.");
  });
  proxy.plan = () => undefined;
  if (restored === "ok") {
    const [want, got] = [digestsOf(source.files), await contentsOf(`${dir}/live`)];
    if (JSON.stringify(want) !== JSON.stringify(got)) throw new Error("other files came back");
  }
  await requireSwept(store, source.logId, place, proxy.begun);
  return { saved, restored, faults: proxy.happened.length };
}

/** Requires that the next sweep removes the leftovers of a failed round: no archive remains without its manifest. */
async function requireSwept(
  store: CheckpointStore,
  logId: string,
  place: S3Place,
  begun: Iterable<string>,
): Promise<void> {
  await sweepStore({ store, source: testSource(), logId, orphanGraceMs: -60_000 });
  const lying = await place.lying(begun);
  const manifests = lying.filter((name) => name.endsWith(".json") && name.startsWith("checkpoint-"));
  const archives = lying.filter((name) => name.endsWith(".tar") || name.endsWith("?uploads"));
  if (archives.map((name) => name.replace(/tar$/, "json")).join() !== manifests.join())
    throw new Error(`after a sweep there was ${lying.join()}`);
}

/** Returns `ok`, or the code of the error. Throws an error that has no code. */
async function codeOf(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "ok";
  } catch (error) {
    if (isCairnError(error)) return error.code;
    throw error;
  }
}

function contentOf(seed: number): Buffer {
  const content = Buffer.alloc(BYTES + seed);
  // No two mebibytes are equal, so that none can be mistaken for another.
  for (let at = 0; at < content.length; at += 1024)
    createHash("md5").update(`${seed} ${at}`).digest().copy(content, at);
  return content;
}

function* cut(content: Buffer): Generator<Buffer, void, undefined> {
  for (let at = 0; at < content.length; at += 100_003) yield content.subarray(at, at + 100_003);
}

function digestOf(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
