// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { levelProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Transaction } from "@cairn/client";
import { logWithBackup } from "../../src/backup/log-with-backup.ts";
import type { System } from "../../src/api/system.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { readLogIdentity } from "../../src/log/log-identity.ts";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import type { CairnNode } from "../../src/node/node.ts";
import { foldLog } from "../../src/replay/fold-log.ts";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { BACKED_UP, backedUp, done, run } from "@cairn/test-support/nodes/recovery-scene";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const POINTS = Number(process.env["CAIRN_SOAK_ROUNDS"] ?? 50);
/** The number of restored points, and of transactions in the history from which they are drawn. */
const HISTORIES: readonly (readonly [number, number, string[]])[] = [
  [4, 120, []],
  [POINTS, 600, ["rest/slow"]],
];

describe("an index restored as of a point in the past", () => {
  let scene: ClusterScene;
  let folder: string;
  beforeEach(async () => {
    scene = await ClusterScene.open();
    folder = await mkdtemp(path.join(tmpdir(), "cairn-past-"));
  });
  afterEach(async () => {
    await scene.close();
    await rm(folder, { recursive: true });
  });

  const restore = (output: string, at: number): string[] => {
    return ["checkpoint", "restore", "-o", path.join(folder, output), "--at-tx", `${at}`];
  };

  /** Returns the digests at transactions, in ascending order, of an index built from the log alone. */
  async function digestsFromLog(wanted: readonly number[]): Promise<Map<number, string>> {
    const digests = new Map<number, string>();
    const log = await openNatsTxLog({ servers: [scene.nats.url] });
    const identity = await readLogIdentity(log);
    if (identity === undefined) throw new Error("there is no log");
    const kv = await levelProvider().open(path.join(folder, "from-log"));
    const index = await IndexStore.open(kv, emptyState(identity));
    const { signal } = new AbortController();
    for (const upTo of wanted) {
      await foldLog({ index, log: logWithBackup(log, []), identity, upTo, signal });
      digests.set(upTo, (await index.digest())?.digest ?? "");
    }
    await index.close();
    await log.close();
    return digests;
  }

  describe.each(HISTORIES)("(%i points of %i transactions)", (points, transactions, tags) => {
    it("has the digest of an index built from the log", { tags, timeout: 600_000 }, async () => {
      const node = await scene.ready("a", { parts: BACKED_UP });
      const last = await writeHistory(node, transactions);
      await backedUp(node, last);
      const drawn = new Set<number>();
      while (drawn.size < points) drawn.add(2 + Math.floor(Math.random() * (last - 1)));
      const wanted = [...drawn].toSorted((x, y) => x - y);
      const expected = await digestsFromLog(wanted);
      const found = new Map<number, string>();
      for (const txId of wanted) {
        const restored = await done(scene, ...restore(`at-${txId}`, txId), "--json");
        const past = JSON.parse(restored) as { txId: number; digest: string };
        expect(past.txId).toBe(txId);
        found.set(txId, past.digest);
      }
      expect(found).toEqual(expected);
      expect(new Set(found.values()).size).toBe(wanted.length);
    });
  });

  it(
    "ends with the last transaction at or before a time, and is readable without a node or a log",
    { tags: "rest/slow" },
    async () => {
      const node = await scene.ready("a", { parts: BACKED_UP });
      const first = await put(node, 0, 5, "before");
      const outcome = await node.outcome(first);
      const time = new Date(outcome?.txTime ?? "");
      // A point in time lies between two transactions only if they have different times.
      await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(time.getTime()), { interval: 1 });
      const last = await put(node, 0, 5, "after");
      await backedUp(node, last);
      await scene.stop(node);
      await scene.loseLog();
      const output = path.join(folder, "past");
      const command = ["checkpoint", "restore", "-o", output, "--at", time.toISOString()];
      const restored = await done(scene, ...command);
      expect(restored).toMatch(
        /^restored transaction 6 .* from an empty index, and 6 transactions from \d+ segments? of its backup \(/,
      );
      expect(restored).toContain(`(${outcome?.txTime})`);
      const [digest = ""] = /sha256:\w+/.exec(restored) ?? [];
      expect(await done(scene, "db", "digest", output)).toContain(digest);
      expect(await done(scene, "db", "get", output, "things", "k4")).toBe('"before"\n');
      expect(await done(scene, "db", "buckets", output)).toMatch(/things +5 /);
      const beyond = await run(scene, ...restore("none", 40));
      expect(beyond).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          /Transaction 40 is beyond .*: the log backup covers transactions 1 to 11\./,
        ),
      });
      // A point at which the log cannot continue is refused in the same way, and the hint names a possible one.
      const refused = await run(scene, "log", "recover", "--at-tx", "40");
      expect(refused.stderr).toMatch(
        /^CHECKPOINT_NOT_FOUND: .* covers transactions 1 to 11\.\n {2}hint: Use --at-tx 11 /,
      );
      expect(await done(scene, "log", "recover", "--at-tx", "11", "--dry-run")).toMatch(
        /^would begin the log cairn, which continues after transaction 11: /,
      );
      const again = await run(scene, ...command);
      expect(again).toMatchObject({ code: 1, stderr: expect.stringMatching(/^CONFLICT: .*not empty/) });
    },
  );

  it(
    "ends within a log that the configured one continues, although no backup has what is between them",
    { tags: "rest/slow" },
    async () => {
      const options = { parts: BACKED_UP };
      const first = await scene.ready("a", options);
      const outcome = await first.outcome(await put(first, 0, 5, "before"));
      const time = new Date(outcome?.txTime ?? "");
      await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(time.getTime()), { interval: 1 });
      const last = await put(first, 0, 5, "after");
      await backedUp(first, last);
      await scene.stop(first);
      const alone = await scene.ready("a");
      const seam = await put(alone, 5, 8, "in no backup");
      await scene.stop(alone);
      await scene.loseLog();
      const at = ["checkpoint", "restore", "--at", time.toISOString(), "-o"];
      await done(scene, "log", "recover", "--from", scene.dbDir("a"));
      const second = await scene.ready("a", options);
      const end = await put(second, 0, 5, "recovered");
      await backedUp(second, end);

      expect(await done(scene, ...at, path.join(folder, "past"))).toContain(
        `restored transaction 6 (${outcome?.txTime})`,
      );
      expect(await done(scene, "db", "get", path.join(folder, "past"), "things", "k4")).toBe('"before"\n');
      expect(await done(scene, ...restore("seam", seam))).toContain(`restored transaction ${seam} `);
      const between = await run(scene, ...restore("none", seam - 1));
      expect(between).toMatchObject({
        code: 1,
        stderr: expect.stringContaining(`--at-tx ${last} restores the last earlier transaction`),
      });
      expect(await done(scene, ...restore("nearest", last))).toContain(`restored transaction ${last} `);

      // A node that was given the name of another stream for a while has left a backup of its own log.
      const openTxLog: System["openTxLog"] = async ({ signal }) =>
        await openNatsTxLog({ servers: [scene.nats.url], stream: "shpo", signal });
      const stray = await scene.ready("stray", { parts: { ...BACKED_UP, openTxLog } });
      await backedUp(stray, await put(stray, 0, 1, "stray"));
      await scene.stop(stray);
      expect(await done(scene, ...at, path.join(folder, "named"))).toContain("restored transaction 6 ");
      expect(await done(scene, "checkpoint", "restore", "-o", path.join(folder, "newest"))).toContain(
        `(transaction ${seam})`,
      );
      const store = path.join(scene.folder, "checkpoints");
      expect(await run(scene, ...at, path.join(folder, "asked"), store)).toMatchObject({ code: 2 });
    },
  );

  it(
    "is refused with the nearest earlier point if neither a backup nor the log leads there",
    { tags: "rest/slow" },
    async () => {
      const node = await scene.ready("a");
      const saved = await put(node, 0, 5, "before");
      await saveCheckpoint(node);
      const between = await put(node, 0, 5, "after");
      const last = await put(node, 5, 6, "last");
      await saveCheckpoint(node);
      // The log itself also leads to that point.
      const exact = await done(scene, ...restore("exact", between - 1));
      expect(exact).toMatch(
        new RegExp(`^restored transaction ${between - 1} .* and 4 transactions from the log; digest `),
      );
      await scene.stop(node);
      await scene.loseLog();
      const near = await run(scene, ...restore("near", between));
      expect(near).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          new RegExp(`leads exactly to transaction ${between}\\.\n.* --at-tx ${saved} restores`),
        ),
      });
      expect(await done(scene, ...restore("saved", saved))).toContain(`restored transaction ${saved} `);
      // It is unknown whether a transaction after the end of every source ever existed.
      const beyond = await run(scene, ...restore("beyond", last + 1));
      expect(beyond).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(
          new RegExp(
            `^CHECKPOINT_NOT_FOUND: .* ends with transaction ${last}\\.\n {2}hint: --at-tx ${last} `,
          ),
        ),
      });
      expect(await done(scene, ...restore("last", last))).toContain(`restored transaction ${last} `);
    },
  );
});

/**
 * Writes a history in which documents expire and are evicted and policies change, and saves three checkpoints in
 * between.
 */
async function writeHistory(node: CairnNode, transactions: number): Promise<number> {
  let last = 0;
  for (let n = 0; n < transactions; n += 1) {
    ({ txId: last } = await node.submit(transaction(n)));
    if (n % (transactions / 3) === transactions / 6) {
      await node.await(last);
      await saveCheckpoint(node);
    }
  }
  await node.await(last);
  return last;
}

function transaction(n: number): Transaction {
  const key = `default/k${n % 40}`;
  if (n % 97 === 50) {
    const after = n % 2 === 0 ? "PT0.3S" : "PT0.5S";
    return {
      ops: [
        [
          "configure",
          { indexes: { things: ["n"] }, expire: { brief: { after } }, history: { things: { keep: 3 } } },
        ],
      ],
    };
  }
  if (n % 31 === 7) return { ops: [["evict", "things", key]] };
  if (n % 23 === 5)
    return {
      ops: [
        ["match", "things", key, 1],
        ["put", "things", key, { never: n }],
      ],
    };
  if (n % 17 === 3) return { ops: [["delete", "things", key]] };
  if (n % 11 === 2)
    return {
      ops: [["event", { type: "Normal", reason: "Seen", bucket: "things", object: key, message: `${n}` }]],
    };
  return {
    ops: [
      ["put", "things", key, { n: n % 5 }],
      ["put", "brief", `default/b${n}`, n],
    ],
    id: `id-${n}`,
  };
}
