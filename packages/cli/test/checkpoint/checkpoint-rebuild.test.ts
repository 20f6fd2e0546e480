// @module-tag nats
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { listCheckpoints } from "@cairn/checkpoint";
import { levelProvider } from "@cairn/kv";
import { expect, it, vi } from "vitest";
import { encodeState } from "@cairn/engine/src/index/rows/index-state";
import { INDEX_VERSION, type CairnNode } from "@cairn/engine";
import { readState } from "@cairn/engine/src/index/rows/index-state";
import { STATE_ROW_KEY } from "@cairn/engine/src/index/rows/row-keys";
import { saveAltered } from "@cairn/test-support/nodes/altered-index";
import { put, type TrimScene, trimScene } from "@cairn/test-support/nodes/trim-scene";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { separateRows } from "@cairn/test-support/nodes/separate-rows";

/** Runs the command in its own folder, on the scene's NATS server and store, as an operator would next to running nodes. */
function create(scene: TrimScene, terminal = terminalOf(scene)): Promise<CommandResult> {
  return cairn(["checkpoint", "create", "--rebuild"], terminal);
}

function terminalOf({ folder, natsUrl }: TrimScene): CapturedTerminal {
  const env = {
    NATS_URL: natsUrl,
    CAIRN_NODE_ID: "operator",
    CAIRN_DIR: path.join(folder, "operator"),
    CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints"),
  };
  return new CapturedTerminal({ cwd: folder, env });
}

function toOtherVersion(scene: TrimScene, id: string): Promise<string> {
  return saveAltered(scene, id, { version: INDEX_VERSION + 1 });
}

async function leaseFileOf(node: CairnNode): Promise<string> {
  return `in-progress-${(await node.status()).log.id}.json`;
}

/** Takes the lease as an uploading node would. The returned function releases it. */
async function holdLease({ store }: TrimScene, node: CairnNode): Promise<() => Promise<void>> {
  const expiresAt = new Date((await store.now()) + 60_000).toISOString();
  const lease = { owner: "old\u0007", nonce: "1", progress: { bytes: 0 }, expiresAt };
  const file = await leaseFileOf(node);
  await store.create(file, JSON.stringify(lease));
  return () => store.remove(file);
}

async function started(scene: TrimScene, id: string): Promise<CairnNode> {
  const node = await scene.start(id);
  await node.ready;
  return node;
}

it("a rebuild saves a checkpoint of this version, next to one of another version, from which nodes of this version join", async () => {
  const scene = await trimScene("nats");
  const old = await started(scene, "old");
  await put(old, 0, 30);
  const { digest } = await old.digest();
  await old.close();
  const theirs = await toOtherVersion(scene, "old");
  const { code, stdout } = await create(scene);
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/^rebuilt 31 transactions of the log cairn; saved checkpoint-31-/),
  ]);
  const names = await scene.checkpoints();
  expect(names).toHaveLength(2);
  expect(names).toContain(theirs);
  const { checkpoints } = await listCheckpoints(scene.store);
  expect(checkpoints.find(({ name }) => name !== theirs)).toMatchObject({
    format: { index: INDEX_VERSION },
    node: `cairn checkpoint create on ${hostname()}`,
  });
  expect(await readdir(path.join(scene.folder, "operator"))).toEqual([]);
  // The node of the other version is upgraded: its own index is kept in quarantine, and it replays nothing.
  const upgraded = await started(scene, "old");
  const { join } = await upgraded.status();
  expect(join).toMatchObject({
    restoredFrom: { txId: 31 },
    replayed: 0,
    movedAside: [{ code: "INDEX_VERSION" }],
  });
  expect((await upgraded.digest()).digest).toBe(digest);
  const [aside = ""] = await readdir(path.join(scene.folder, "old-index", "quarantine"));
  const kept = await levelProvider().open(path.join(scene.folder, "old-index", "quarantine", aside, "live"));
  await expect(readState(kept)).rejects.toMatchObject({ code: "INDEX_VERSION" });
  await kept.close();
});

it("a rebuild includes the built fields that the log defines, so that joining nodes do not have to build them", async () => {
  const scene = await trimScene("nats");
  const node = await started(scene, "n1");
  await node.submit({ ops: [["configure", { indexes: { jobs: ["state"] } }]] });
  await node.submit({ ops: [["put", "jobs", "default/a", { state: "done" }]] });
  await node.close();
  expect((await create(scene)).code).toBe(0);
  const args = ["checkpoint", "restore", path.join(scene.folder, "checkpoints"), "-o", "restored"];
  expect((await cairn(args, terminalOf(scene))).code).toBe(0);
  const kv = await levelProvider().open(path.join(scene.folder, "restored"));
  const kinds = new Set<string>();
  for await (const rows of separateRows(kv))
    for (const [key] of rows) kinds.add(String.fromCharCode(key[0] ?? 0));
  await kv.close();
  // These are the rows of the field and its counts, without anything that is still being built.
  expect([...kinds].filter((kind) => "bfv".includes(kind))).toEqual(["f", "v"]);
});

it("a rebuild works while a node runs, and saves nothing if a checkpoint of this version contains the whole log", async () => {
  const scene = await trimScene("nats");
  const node = await started(scene, "running");
  await put(node, 0, 10);
  expect((await create(scene)).stdout).toContain("saved checkpoint-11-");
  expect((await create(scene)).stdout).toMatch(/^skipped: checkpoint-11-.* contains the whole log\.\n$/);
  await put(node, 10, 12);
  expect((await create(scene)).stdout).toContain("saved checkpoint-13-");
  expect(node.phase).toBe("ready");
});

it("a rebuild refuses a log whose beginning was trimmed, and names the checkpoint with the missing transactions", async () => {
  const scene = await trimScene("nats");
  const node = await started(scene, "old");
  await put(node, 0, 10);
  await node.close();
  const log = await scene.openLog();
  await log.trim?.(5);
  await log.close();
  const none = await create(scene);
  expect(none.code).toBe(3);
  expect(none.stderr).toMatch(
    /^LOG_TRIMMED: The log "cairn" no longer holds the transactions before message 5, so no index/,
  );
  expect(none.stderr).toContain("restore-from");
  const theirs = await toOtherVersion(scene, "old");
  const { stderr } = await create(scene);
  expect(stderr).toContain(`${theirs} in ${scene.store.location} holds them up to transaction 11`);
  expect(stderr).toContain(`an index of version ${INDEX_VERSION + 1} that Cairn 9.9.9 wrote`);
  expect(await scene.checkpoints()).toEqual([theirs]);
});

it(
  "a rebuild waits while a node uploads, saves nothing if interrupted, and continues from the unfinished index",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const node = await started(scene, "old");
    await put(node, 0, 10);
    const release = await holdLease(scene, node);
    const terminal = terminalOf(scene);
    const running = create(scene, terminal);
    await vi.waitFor(() => expect(terminal.stderr.text).toContain("Waiting until it ends"), {
      timeout: 30_000,
    });
    terminal.signal("SIGINT");
    const { code, stderr } = await running;
    expect([code, stderr]).toEqual([
      130,
      expect.stringContaining("INTERRUPTED: Interrupted; nothing was saved."),
    ]);
    expect(stderr).toContain("old\\u0007");
    expect(await scene.checkpoints()).toEqual([]);
    await release();
    await put(node, 10, 12);
    expect((await create(scene)).stdout).toMatch(
      /^rebuilt 13 transactions of the log cairn, resumed after transaction 11; saved checkpoint-13-/,
    );
    const digest = await scene.verify((await scene.checkpoints())[0] ?? "");
    expect(digest.digest).toBe((await node.digest()).digest);
  },
);

it(
  "a rebuild starts again if an earlier one left an index whose history differs from the log's",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const node = await started(scene, "old");
    await put(node, 0, 3);
    const release = await holdLease(scene, node);
    const terminal = terminalOf(scene);
    const running = create(scene, terminal);
    await vi.waitFor(() => expect(terminal.stderr.text).toContain("Waiting until it ends"), {
      timeout: 30_000,
    });
    terminal.signal("SIGINT");
    await running;
    await release();
    const kv = await levelProvider().open(path.join(scene.folder, "operator", "rebuild", "live"));
    const state = await readState(kv);
    if (state === undefined) throw new Error("nothing was left");
    const value = encodeState({ ...state, sha256: "f".repeat(64) });
    await kv.batch([{ type: "put", key: STATE_ROW_KEY, value }]);
    await kv.close();
    expect((await create(scene)).stdout).toMatch(
      /^rebuilt 4 transactions of the log cairn; saved checkpoint-4-/,
    );
  },
);

it(
  "a rebuild is refused while another rebuild uses the folder, and the error names that process",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const node = await started(scene, "old");
    await put(node, 0, 3);
    const release = await holdLease(scene, node);
    const terminal = terminalOf(scene);
    const running = create(scene, terminal);
    await vi.waitFor(() => expect(terminal.stderr.text).toContain("Waiting until it ends"), {
      timeout: 30_000,
    });
    const { code, stderr } = await create(scene);
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^INDEX_LOCKED: .*rebuild/)]);
    await release();
    expect((await running).stdout).toContain("saved checkpoint-4-");
    expect(await scene.store.read(await leaseFileOf(node))).toBeUndefined();
  },
);
