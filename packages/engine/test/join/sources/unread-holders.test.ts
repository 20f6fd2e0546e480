// @module-tag nats
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { filesystemStore } from "@cairn/checkpoint";
import { CairnError } from "@cairn/kv";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { lookBeforeBeginning } from "../../../src/join/may-begin.ts";
import type { CairnNode } from "../../../src/node/node.ts";

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

/** Flips a bit of the last batch of a stopped node's index, or in the middle of its write-ahead log. */
async function damage(id: string, where: "middle" | "end"): Promise<void> {
  const live = path.join(scene.dbDir(id), "live");
  const logs = (await readdir(live)).filter((name) => name.endsWith(".log")).toSorted();
  const file = path.join(live, logs.at(-1) ?? "");
  const bytes = await readFile(file);
  const at = where === "end" ? bytes.length - 10 : Math.floor(bytes.length / 2);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  await writeFile(file, bytes);
}

async function quarantined(): Promise<readonly { readonly holdsLost: boolean }[]> {
  const quarantine = path.join(scene.dbDir("a"), "quarantine");
  const notes = (await readdir(quarantine)).toSorted().map(async (name) => {
    const note = await readFile(path.join(quarantine, name, "why.json"), "utf8");
    return JSON.parse(note) as { readonly holdsLost: boolean };
  });
  return await Promise.all(notes);
}

const codesOf = async (node: CairnNode): Promise<string[]> =>
  (await node.status()).findings.map(({ code }) => code);

async function command(...words: string[]) {
  const env = {
    NATS_URL: scene.nats.url,
    CAIRN_NODE_ID: "a",
    CAIRN_DIR: scene.folder,
    CAIRN_CHECKPOINT_PATH: path.join(scene.folder, "checkpoints"),
  };
  return await cairn(words, new CapturedTerminal({ cwd: scene.folder, env }));
}

async function failureOf(node: CairnNode) {
  await vi.waitFor(() => expect(node.phase).toBe("failed"), { timeout: 30_000 });
  return (await node.status()).failure;
}

describe("a damaged index", () => {
  it.each(["middle", "end"] as const)(
    "that holds what the log has lost is kept and reported until its folder is removed (damaged in the %s)",
    { tags: "rest/slow" },
    async (where) => {
      const first = await scene.ready("a");
      await put(first, 0, 5, "kept");
      await scene.copyLog();
      await put(first, 5, 9, "lost");
      await scene.stop(first);
      await scene.rollBackLog();
      await damage("a", where);
      for (let more = 0; more < 3; more += 1) {
        const again = await scene.ready("a");
        await put(again, 20 + more, 21 + more, "new");
        expect(await codesOf(again)).toContain("index-uncompared");
        await scene.stop(again);
        await damage("a", "middle");
      }
      const a = await scene.ready("a", { stall: { afterMs: 100 } });
      expect((await quarantined()).filter(({ holdsLost }) => holdsLost)).toHaveLength(1);
      const [kept = ""] = (await a.status()).join.uncompared;
      const { code, stderr } = await command("log", "orphans");
      expect(code).toBe(1);
      expect(stderr).toContain(`${kept} cannot be read completely`);
      await rm(kept, { recursive: true });
      await vi.waitFor(async () => expect(await codesOf(a)).not.toContain("index-uncompared"), 10_000);
    },
  );

  it("of which the log has all transactions is not reported, and removed like others", async () => {
    for (let more = 0; more < 4; more += 1) {
      const a = await scene.ready("a");
      expect(await codesOf(a)).not.toContain("index-uncompared");
      await put(a, more, more + 3, "x");
      await scene.stop(a);
      await damage("a", "middle");
    }
    await scene.ready("a");
    expect(await quarantined()).toMatchObject([{ holdsLost: false }, { holdsLost: false }]);
  });

  it(
    "shows that there was a log, so a node begins none, and the index stays in its place",
    { tags: "rest/slow" },
    async () => {
      const first = await scene.ready("a");
      await put(first, 0, 5, "x");
      await scene.stop(first);
      await scene.loseLog();
      await damage("a", "end");
      const a = await scene.start("a");
      expect(await failureOf(a)).toMatchObject({
        code: "LOG_DIFFERENT",
        message: expect.stringContaining("it is unknown what the local index holds (INDEX_CORRUPT: "),
        hint: expect.stringMatching(/move it away if it holds nothing of this log\. To .*log create --empty/),
      });
      expect((await a.status()).log.exists).toBe(false);
      expect(await readdir(scene.dbDir("a"))).not.toContain("quarantine");
      await scene.stop(a);
      for (const words of [["create"], ["status"]]) {
        const { code, stderr } = await command("log", ...words);
        expect(code).toBe(1);
        expect(stderr).toMatch(/it is unknown what the index in \S+a-index\/live holds \(INDEX_CORRUPT: /);
      }
      const { code, stderr } = await command("log", "recover", "--yes");
      expect({ code, stderr }).toMatchObject({
        code: 1,
        stderr: expect.stringContaining("CHECKPOINT_NOT_FOUND"),
      });
      expect(stderr).not.toContain("--yes");
      expect((await command("log", "create", "--empty")).code).toBe(0);
    },
  );

  it("is left behind by following the hints, and kept", { tags: "rest/slow" }, async () => {
    const first = await scene.ready("a");
    await put(first, 0, 5, "x");
    const checkpoint = await saveCheckpoint(first);
    await put(first, 5, 7, "x");
    await scene.stop(first);
    await scene.loseLog();
    await damage("a", "end");
    const a = await scene.start("a");
    expect((await failureOf(a))?.hint).toMatch(
      /run \S.*log recover, which .* after transaction 6; .* move it away if .*log recover is refused because of it, --yes leaves it behind/,
    );
    expect(await command("log", "recover")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CONFLICT/m),
    });
    expect((await command("log", "recover", "--yes")).code).toBe(0);
    await vi.waitFor(() => expect(a.phase).toBe("ready"), 30_000);
    const { join, findings } = await a.status();
    expect(join).toMatchObject({
      restoredFrom: { name: checkpoint },
      movedAside: [{ code: "INDEX_CORRUPT" }],
    });
    expect(findings.map(({ code }) => code)).toContain("index-uncompared");
  });

  it(
    "in quarantine shows it as well, if it may hold transactions that nothing else does",
    { tags: "rest/slow" },
    async () => {
      const first = await scene.ready("a");
      await put(first, 0, 5, "kept");
      await scene.copyLog();
      await put(first, 5, 9, "lost");
      await scene.stop(first);
      await scene.rollBackLog();
      await damage("a", "end");
      await scene.stop(await scene.ready("a"));
      await rm(path.join(scene.dbDir("a"), "live"), { recursive: true });
      await scene.loseLog();
      expect((await failureOf(await scene.start("a")))?.message).toMatch(
        /it is unknown what the index in \S+quarantine\S+ holds/,
      );
    },
  );

  it(
    "of another node in the same folder keeps a node from beginning a log",
    { tags: "rest/slow" },
    async () => {
      const b = await scene.ready("b");
      await put(b, 0, 5, "x");
      await scene.stop(b);
      await scene.loseLog();
      await damage("b", "end");
      expect((await failureOf(await scene.start("a")))?.message).toMatch(
        /it is unknown what \S+b-index of node b holds \(INDEX_CORRUPT: /,
      );
    },
  );
});

it(
  "an index of another node in the same folder is named beside the node's own, and first if it reaches further",
  { tags: "rest/slow" },
  async () => {
    const [first, b] = [await scene.ready("a"), await scene.ready("b")];
    await put(first, 0, 5, "x");
    await scene.stop(first);
    await put(b, 5, 9, "y");
    await scene.stop(b);
    await scene.loseLog();
    const failure = await failureOf(await scene.start("a"));
    expect(failure?.message).toMatch(
      /the local index holds .* up to 6; \S+b-index of node b holds .* up to 10/,
    );
    expect(failure?.hint).toMatch(/If the log is permanently lost, run \S.*log recover --from \S+b-index/);
    expect(failure?.hint).not.toContain("CAIRN_NODE_ID=b");
  },
);

it("a store that cannot be read hides no other holder", async () => {
  const a = await scene.ready("a");
  await put(a, 0, 5, "x");
  await saveCheckpoint(a);
  await scene.stop(a);
  const openTxLog = async () => await openNatsTxLog({ servers: scene.nats.url });
  const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
  const away = new CairnError("STORE_UNREACHABLE", "The store does not respond.");
  const system = quietSystem({
    folder: scene.folder,
    nodeId: "a",
    openTxLog,
    checkpointer: { store: { ...store, list: async () => await Promise.reject(away) } },
  });
  const { holders, cure } = await lookBeforeBeginning({ name: "cairn" }, system);
  expect(holders).toEqual([
    expect.stringMatching(/^the index in \S+a-index\S+ holds transactions up to 6$/),
    "it is unknown what the stores hold (STORE_UNREACHABLE: The store does not respond.)",
  ]);
  expect(cure).toContain("what the stores hold could not be read");
});
