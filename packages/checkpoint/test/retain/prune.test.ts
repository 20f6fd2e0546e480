import { CairnError, systemClock } from "@cairn/kv";
import { expect, test } from "vitest";
import { listRetained, markDamaged, markVerified, planPrune, prune } from "../../src/index.ts";
import type { CheckpointStore, PruneEntry, PruneOptions } from "../../src/index.ts";
import { acquireLease } from "../../src/save/lease.ts";
import { decodeManifest } from "../../src/store/checkpoint.ts";
import { reserve } from "../../src/store/reservations.ts";
import { faultyStore, memoryStore } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, take, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const FORMAT = { index: 1, kv: "test/1" };

/** Returns a store whose clock the test controls, and functions that save to the store. */
async function scene() {
  const dir = await temporaryDirectory();
  const clock = { now: Date.parse("2026-11-20T06:00:00.000Z") };
  const store = memoryStore({ now: () => clock.now });
  const source = testSource();
  const save = async (...txIds: number[]): Promise<string[]> => {
    const names: string[] = [];
    for (const txId of txIds) {
      clock.now += HOUR;
      names.push(await takeAt(txId, store, source, dir));
    }
    return names;
  };
  const saveOther = async (txId: number): Promise<string> => {
    clock.now += HOUR;
    return await takeAt(txId, store, { ...testSource(), logId: "log-b" }, dir);
  };
  const plan = (change: Partial<PruneOptions> = {}): Promise<PruneEntry[]> =>
    planPrune({ store, logId: "log-a", format: FORMAT, agrees: async () => true, ...change });
  return { dir, store, source, clock, save, saveOther, plan };
}

function said(plan: readonly PruneEntry[]): [number | null, boolean, string][] {
  return plan.map(({ txId, keep, because }) => [txId, keep, because]);
}

test("a plan gives a decision and a reason for everything and changes nothing, and pruning carries it out", async () => {
  const { store, save, plan } = await scene();
  const names = await save(1, 2, 3);
  const before = await namesIn(store);
  const planned = await plan({ policy: { retainAtLeast: 2 } });
  expect(said(planned)).toEqual([
    [3, true, "it is one of the newest 2"],
    [2, true, "it is one of the newest 2"],
    [1, false, "it is not one of the newest 2"],
  ]);
  expect(await namesIn(store)).toEqual(before);
  expect(await prune(store, planned)).toMatchObject({ removed: [{ name: names[0] }], failed: [] });
  expect(await namesIn(store)).toEqual(before.filter((name) => !name.startsWith(names[0] ?? "")));
});

test("without a policy, every checkpoint is kept", async () => {
  const { save, plan } = await scene();
  await save(1, 2);
  expect((await plan()).map(({ keep }) => keep)).toEqual([true, true]);
});

test("the newest verified checkpoint and a checkpoint that is being restored are kept", async () => {
  const { store, save, plan } = await scene();
  const [reserved = "", verified = ""] = await save(1, 2, 3, 4);
  const node = "n";
  const manifest = decodeManifest(verified, (await store.read(`${verified}.json`))?.text ?? "");
  await markVerified(store, verified, { node, digest: `sha256:${"0".repeat(64)}`, manifest });
  const reservation = await reserve(store, reserved, node, systemClock);
  expect(said(await plan({ policy: { retainAtLeast: 1 } }))).toEqual([
    [4, true, "it is one of the newest 1"],
    [3, false, "it is not one of the newest 1"],
    [2, true, "it is the newest that was verified"],
    [1, true, "a node is restoring it"],
  ]);
  const policy = { retainAtLeast: 1 };
  const { checkpoints } = await listRetained({
    store,
    own: { logId: "log-a", policy, storeNow: await store.now() },
    format: FORMAT,
  });
  expect(checkpoints.map(({ txId, kept, verification }) => [txId, kept, verification?.node])).toEqual([
    [4, { keep: true, because: "it is one of the newest 1" }, undefined],
    [3, { keep: false, because: "it is not one of the newest 1" }, undefined],
    [2, { keep: true, because: "it is the newest that was verified" }, node],
    [1, { keep: true, because: "a node is restoring it" }, undefined],
  ]);
  await reservation.release();
});

test("what is verified or being restored by the time of its removal is kept, and a mark that was known does not matter", async () => {
  const { store, save, plan } = await scene();
  const [old = "", verified = "", reserved = ""] = await save(1, 2, 3, 4);
  const mark = async (name: string): Promise<void> => {
    const manifest = decodeManifest(name, (await store.read(`${name}.json`))?.text ?? "");
    await markVerified(store, name, { node: "n", digest: `sha256:${"0".repeat(64)}`, manifest });
  };
  const policy = { retainAtLeast: 1 };
  await store.create(`${old}.verified.json`, "unreadable");
  const planned = await plan({ policy });
  expect(planned.map(({ keep }) => keep)).toEqual([true, false, false, false]);
  await mark(verified);
  const reservation = await reserve(store, reserved, "n", systemClock);
  const { entries, removed } = await prune(store, planned);
  expect(said(entries).slice(1)).toEqual([
    [3, true, "a node is restoring it"],
    [2, true, "it has just been verified"],
    [1, false, "it is not one of the newest 1"],
  ]);
  expect(removed.map(({ name }) => name)).toEqual([old]);
  await reservation.release();
  expect(said(await plan({ policy })).slice(1)).toEqual([
    [3, false, "it is not one of the newest 1"],
    [2, true, "it is the newest that was verified"],
  ]);
});

test("checkpoints of another log are kept unless their removal is requested", async () => {
  const { save, saveOther, plan } = await scene();
  await saveOther(50);
  await save(1, 2);
  const policy = { retainAtLeast: 2 };
  expect((await plan({ policy })).map(({ keep }) => keep)).toEqual([true, true, true]);
  const asked = await plan({ policy, otherLogs: true });
  expect(said(asked)[0]).toEqual([50, false, "it belongs to another log"]);
  expect(asked[0]?.log).toEqual({ id: "log-b", name: "cairn" });
});

test("even if their removal is requested, checkpoints of another log are kept while this log, which may continue that one, has too few", async () => {
  const { save, saveOther, plan } = await scene();
  await saveOther(50);
  await save(51);
  const planned = await plan({ policy: { retainAtLeast: 2 }, otherLogs: true });
  expect(said(planned)[1]).toEqual([
    50,
    true,
    "it belongs to another log, and there are too few of this one to restore from",
  ]);
});

test("checkpoints that the log has lost are neither counted nor removed", async () => {
  const { source, save, plan } = await scene();
  source.lostBeyond = 600;
  await save(1000, 500, 501);
  const planned = await plan({
    policy: { retainAtLeast: 1 },
    agrees: async ({ txId }) => txId <= 600,
  });
  expect(planned.map(({ txId, keep }) => [txId, keep])).toEqual([
    [1000, true],
    [501, true],
    [500, false],
  ]);
});

test("checkpoints that the log has lost are removed on request, once another one can be restored", async () => {
  const { source, save, plan } = await scene();
  source.lostBeyond = 600;
  await save(1000);
  const asked = { agrees: async ({ txId }: { txId: number }) => txId <= 600, lost: true };
  const policy = { retainAtLeast: 3 };
  expect(said(await plan({ ...asked, policy }))).toEqual([
    [
      1000,
      true,
      "it holds transactions that the log lost, and there are too few of this one to restore from",
    ],
  ]);
  await save(500);
  expect((await plan({ ...asked, policy })).map(({ txId, keep }) => [txId, keep])).toEqual([
    [1000, false],
    [500, true],
  ]);
});

test("without the log, both the newest checkpoints by time and those of the highest transactions are kept", async () => {
  const { store, source, save } = await scene();
  source.lostBeyond = 600;
  await save(1000, 500, 501);
  const planned = await planPrune({
    store,
    logId: "log-a",
    format: FORMAT,
    policy: { retainAtLeast: 1 },
  });
  expect(planned.map(({ txId, keep }) => [txId, keep])).toEqual([
    [1000, true],
    [501, true],
    [500, false],
  ]);
});

test("checkpoints of another version follow the policy once they are a day old and there are enough others", async () => {
  const { store, source, clock, dir, save, plan } = await scene();
  const format = { index: 2, kv: "test/1" };
  const capture = source.capture.bind(source);
  source.capture = async (target) => ({ ...(await capture(target)), format });
  await take(store, source, dir);
  source.capture = capture;
  await save(7);
  const policy = { retainAtLeast: 1 };
  expect(said(await plan({ policy }))).toMatchObject([
    [7, true, expect.anything()],
    [1, true, "it has a different format, and is less than a day old"],
  ]);
  clock.now += DAY;
  expect((await plan({ policy })).map(({ keep }) => keep)).toEqual([true, false]);
  expect((await plan({ policy: { retainAtLeast: 2 } })).map(({ keep }) => keep)).toEqual([true, true]);
});

test("an archive without a manifest is removed after an hour unless a lease names it", async () => {
  const { store, clock, save, plan } = await scene();
  const [name = ""] = await save(1);
  await store.remove(`${name}.json`);
  expect(said(await plan())).toEqual([[1, true, "it has no manifest; a node may be writing it"]]);
  clock.now += HOUR + 1;
  const lease = await acquireLease(store, { owner: "n", logId: "log-a", ttlMs: 60_000, clock: systemClock });
  lease?.note({ archive: `${name}.tar`, bytes: 1 });
  await lease?.confirm();
  expect((await plan()).map(({ keep }) => keep)).toEqual([true]);
  await lease?.release();
  const planned = await plan();
  expect(planned).toMatchObject([{ kind: "leftover", keep: false }]);
  await prune(store, planned);
  expect(await namesIn(store)).toEqual([]);
});

test("damaged checkpoints are removed only on request, and not while they may be in the process of being copied", async () => {
  const { store, clock, save, plan } = await scene();
  const [broken = ""] = await save(1, 2);
  await store.remove(`${broken}.tar`);
  expect(said(await plan())[1]).toEqual([1, true, "it cannot be used (CHECKPOINT_INCOMPLETE)"]);
  clock.now += HOUR / 2;
  const copied = await plan({ damaged: true });
  expect(said(copied)[1]?.[1]).toBe(false);
  await store.remove(`${broken}.json`);
  await store.create(`${broken}.json`, "{");
  expect(said(await plan({ damaged: true }))[1]).toEqual([
    1,
    true,
    "it cannot be used (CHECKPOINT_CORRUPT), but was written to within the last hour",
  ]);
  await prune(store, copied);
  expect((await namesIn(store)).filter((name) => name.startsWith(broken))).toEqual([]);
});

test("a checkpoint that was found damaged is removed with its mark on request, once there are enough others", async () => {
  const { store, save, plan } = await scene();
  const [damaged = ""] = await save(1);
  await markDamaged(store, [damaged], "n");
  expect(said(await plan())).toEqual([[1, true, "it was found damaged"]]);
  expect(said(await plan({ damaged: true }))).toEqual([
    [1, true, "it was found damaged, and there are too few others to restore from"],
  ]);
  await save(2);
  const planned = await plan({ damaged: true });
  expect(planned.map(({ kind }) => kind)).toEqual(["checkpoint", "damaged"]);
  expect(said(planned)).toEqual([
    [2, true, "no retention policy is set, and it is not known to be damaged"],
    [1, false, "it was found damaged"],
  ]);
  await prune(store, planned);
  expect((await namesIn(store)).filter((name) => name.startsWith(damaged))).toEqual([]);
});

test("failures to remove are reported, and everything else is removed", async () => {
  const { store, save, plan } = await scene();
  const [first = "", second = ""] = await save(1, 2, 3);
  const denied = new CairnError("STORE_DENIED", "It may not be removed.");
  const guarded: CheckpointStore = faultyStore(store, {
    fail: ({ method, name }) => (method === "remove" && name.startsWith(second) ? denied : undefined),
  });
  const report = await prune(guarded, await plan({ policy: { retainAtLeast: 1 } }));
  expect(report.failed).toMatchObject([{ name: second, error: { code: "STORE_DENIED" } }]);
  expect(report.removed.map(({ name }) => name)).toEqual([first]);
});
