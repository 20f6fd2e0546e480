import path from "node:path";
import { listCheckpoints, planPrune, prune, restoreCheckpoint } from "@cairn/checkpoint";
import { type CairnError, isCairnError, levelProvider } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { NodeStatus } from "@cairn/client";
import { INDEX_VERSION } from "../../src/index/rows/index-state.ts";
import { judgeFormat, verifyRestored } from "../../src/checkpoints/accept-checkpoint.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { verifyCheckpoint } from "../../src/checkpoints/verify-checkpoint.ts";
import { DamagedStoreScene, PristineStore, putSome } from "./damaged-store-scene.ts";
import { chanceOf } from "./odd-values.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";
import { DAMAGES } from "./store-damage.ts";

/** The number of seeds. `pnpm soak` runs more. */
const SEEDS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 40);
const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
/** The number of seeds that run concurrently. Each waits for the disk most of the time. */
const AT_ONCE = 4;
/** The seed that runs with every commit. */
const SAMPLE = commitSeed();
const STEP_MS = 30_000;
const MEMORY_LIMIT = 600 * 2 ** 20;

/** The result of a step: its value, or an error with a code. */
type Outcome<T> = { readonly value: T } | { readonly refused: CairnError };

describe("a store with arbitrary damage", () => {
  let pristine: PristineStore;
  const seen = new Map<string, number>();
  /** By how many bytes the process has grown at most. */
  let growth = 0;

  beforeAll(async () => {
    pristine = await PristineStore.make();
  });
  afterAll(async () => {
    const lines = [...seen].toSorted().map(([what, times]) => `${String(times).padStart(6)} ${what}`);
    const megabytes = Math.round(growth / 2 ** 20);
    lines.push(`${String(SEEDS).padStart(6)} seeds from ${FIRST}, at most ${megabytes} MiB more memory`);
    if (process.env["CAIRN_SOAK_ROUNDS"] !== undefined) process.stdout.write(`${lines.join("\n")}\n`);
    await pristine.close();
  });

  it(`leads to correct responses or clear errors (seed ${SAMPLE})`, async () => {
    await examineSeed(SAMPLE);
  });

  it(
    `leads to correct responses or clear errors, with each of ${SEEDS} seeds`,
    { tags: "rest/campaign", timeout: 180_000 + SEEDS * 5_000 },
    async () => {
      seen.clear();
      const seeds = Array.from({ length: SEEDS }, (_, n) => FIRST + n);
      const work = async (): Promise<void> => {
        for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
          await examineSeed(seed);
          growth = Math.max(growth, process.memoryUsage.rss() - before);
        }
      };
      // The process has run other files before.
      const before = process.memoryUsage.rss();
      const works = Array.from({ length: AT_ONCE }, work);
      // After one seed has failed, the others finish and leave nothing behind.
      await Promise.all(works).finally(async () => {
        seeds.length = 0;
        await Promise.allSettled(works);
      });
      // Some restores succeeded, and the damage had effects.
      expect(count("restored")).toBeGreaterThan(SEEDS / 5);
      expect(count("passed over")).toBeGreaterThan(SEEDS / 3);
      expect(count("saved")).toBeGreaterThan(SEEDS / 3);
      expect(growth).toBeLessThan(MEMORY_LIMIT);
    },
  );

  async function examineSeed(seed: number): Promise<void> {
    const told: string[] = [];
    try {
      await examine(seed, told);
    } catch (error) {
      throw new Error(`seed ${seed}: ${told.join("; ")}`, { cause: error });
    }
  }

  async function examine(seed: number, told: string[]): Promise<void> {
    const chance = chanceOf(seededRandom(seed));
    const scene = await DamagedStoreScene.copyOf(pristine);
    try {
      const damages = 1 + chance.below(8);
      const damaged = { store: scene.storeFolder, outside: scene.outside, chance };
      for (let n = 0; n < damages; n += 1) told.push(await chance.pick(DAMAGES)(damaged).catch(impossible));
      const unfinished = await scene.unfinished();

      await lists(scene);
      await restores(scene);
      await verifies(scene);
      await joins(scene);
      await joinsTrimmed(scene);
      await prunes(scene);
      await lists(scene);

      expect(await scene.strays()).toEqual([]);
      // Cairn leaves nothing half written, but old entries may have been removed.
      expect(unfinished).toEqual(expect.arrayContaining(await scene.unfinished()));
    } finally {
      await scene.close();
    }
  }

  async function restores(scene: DamagedStoreScene): Promise<void> {
    const provider = levelProvider();
    const outcome = await attempt(
      "restore",
      restoreCheckpoint({
        stores: [scene.store],
        stagingDir: path.join(scene.folder, "staging"),
        targetDir: path.join(scene.folder, "own-restored"),
        node: "restoring",
        accept: (manifest) => Promise.resolve(judgeFormat(manifest, provider.format) ?? true),
        verify: (dir, manifest) => verifyRestored(provider, dir, manifest),
      }),
    );
    if ("refused" in outcome) return;
    for (const { error } of outcome.value.skipped) tally(`passed over: ${error.code}`);
    if (outcome.value.restored === undefined) return tally("nothing restored");
    const { txId } = outcome.value.restored.manifest;
    expect(await scene.digestOf("own-restored")).toEqual({ txId, digest: pristine.digests.get(txId) });
    tally("restored");
  }

  async function verifies(scene: DamagedStoreScene): Promise<void> {
    const { store, folder } = scene;
    for (const name of await lists(scene)) {
      const stagingDir = path.join(folder, "staging");
      const verifying = verifyCheckpoint({ store, name, provider: levelProvider(), stagingDir, node: "v" });
      const outcome = await attempt("verify", verifying);
      if ("refused" in outcome) continue;
      const { manifest, digest } = outcome.value;
      expect(digest).toBe(pristine.digests.get(manifest.txId));
      tally("verified");
    }
  }

  /**
   * Joins a node to a complete log. Whatever the state of the store, the node ends up with the correct content, and
   * saves a checkpoint or reports why it cannot.
   */
  async function joins(scene: DamagedStoreScene): Promise<void> {
    const node = await inTime(scene.join("whole", "log"));
    try {
      await inTime(node.ready);
      const { lastTxId: txId, digests } = pristine;
      expect(await node.digest()).toEqual({ txId, digest: digests.get(txId) });
      tally((await node.status()).join.restoredFrom === null ? "replayed" : "joined by a checkpoint");

      await putSome(node, 99);
      const outcome = await attempt("save", node.checkpoint().done);
      if ("refused" in outcome) return;
      if ("skipped" in outcome.value) return tally(`skipped: ${outcome.value.skipped}`);
      const { name } = outcome.value.checkpoint;
      expect(await lists(scene)).toContain(name);
      expect(await inTime(node.verifyCheckpoint(name))).toMatchObject(await node.digest());
      tally("saved");
    } finally {
      await inTime(node.close());
    }
  }

  /**
   * Joins a node to a log that contains only messages after the older checkpoints. The node ends up with the correct
   * content, or reports the missing transactions.
   */
  async function joinsTrimmed(scene: DamagedStoreScene): Promise<void> {
    const node = await inTime(scene.join("trimmed", "trimmed-log"));
    try {
      const failure = await inTime(Promise.race([node.ready, failureOf(node)]));
      if (failure !== undefined) return tally(`join of a trimmed log refused: ${failure.code}`);
      const { lastTxId: txId, digests } = pristine;
      expect(await node.digest()).toEqual({ txId, digest: digests.get(txId) });
      tally("joined a trimmed log");
    } finally {
      await inTime(node.close());
    }
  }

  async function prunes({ store }: DamagedStoreScene): Promise<void> {
    const format = { index: INDEX_VERSION, kv: levelProvider().format };
    const policy = { retainAtLeast: 1 };
    const planning = planPrune({ store, format, policy, otherLogs: true, damaged: true });
    const outcome = await attempt(
      "prune",
      planning.then((plan) => prune(store, plan)),
    );
    if ("value" in outcome) tally("pruned");
  }

  async function attempt<T>(what: string, work: Promise<T>): Promise<Outcome<T>> {
    try {
      return { value: await inTime(work) };
    } catch (error) {
      if (!isCairnError(error)) throw error;
      expect(error.message.length).toBeGreaterThan(10);
      tally(`${what} refused: ${error.code}`);
      return { refused: error };
    }
  }

  function tally(what: string): void {
    seen.set(what, (seen.get(what) ?? 0) + 1);
  }

  function count(beginning: string): number {
    return [...seen].reduce((sum, [what, times]) => sum + (what.startsWith(beginning) ? times : 0), 0);
  }
});

/** Lists the checkpoints, which must succeed whatever the content of the store. */
async function lists({ store }: DamagedStoreScene): Promise<string[]> {
  return (await inTime(listCheckpoints(store))).checkpoints.map(({ name }) => name);
}

/**
 * Returns a note for damage that earlier damage has made impossible. Throws any other error, which is a bug in the
 * test.
 */
function impossible(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (/^(ENOENT|EISDIR|ENOTDIR|EEXIST|ELOOP|ENOTEMPTY|ERR_FS_.*)$/.test(code)) return `no damage (${code})`;
  throw error;
}

/** Waits until a node has stopped itself. */
async function failureOf(node: CairnNode): Promise<NonNullable<NodeStatus["failure"]>> {
  return await vi.waitUntil(async () => (await node.status()).failure, { timeout: STEP_MS, interval: 5 });
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`It hangs: no answer within ${STEP_MS} ms.`)), STEP_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
