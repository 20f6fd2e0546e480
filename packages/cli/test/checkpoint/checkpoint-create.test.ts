import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type CairnNode, openEmbeddedTxLog } from "@cairn/engine";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { cairn, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

interface Scene {
  readonly node: CairnNode;
  readonly store: string;
  create(...options: string[]): Promise<CommandResult>;
}

/** Starts a node that has something to save and looks at its store only on request. */
async function scene(): Promise<Scene> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-create-"));
  const store = path.join(folder, "checkpoints");
  const system = quietSystem({
    folder,
    nodeId: "n1",
    openTxLog: () => openEmbeddedTxLog({ path: path.join(folder, "log") }),
  });
  const node = await runNode({ ...system, http: { host: "127.0.0.1", port: 0, maxBody: 1_048_576 } });
  onTestFinished(async () => {
    await node.close();
    await rm(folder, { recursive: true, force: true });
  });
  await node.ready;
  const { txId } = await node.submit({ ops: [["put", "pods", "default/a", 1]] });
  await node.await(txId);
  await mkdir(store, { recursive: true });
  const url = node.url ?? "";
  return { node, store, create: (...options) => cairn(["checkpoint", "create", "--url", url, ...options]) };
}

const at = (ms: number): string => new Date(Date.now() + ms).toISOString();

/** Puts into the store the lease of another process, which has exited or runs elsewhere. */
async function leaseOf(owner: string, { node, store }: Scene): Promise<void> {
  const lease = {
    owner,
    nonce: "of another process",
    archive: "checkpoint-9-2026-11-20T06-12-26.123Z-1f3a9c0e.tar",
    progress: { bytes: 3 << 20 },
    since: at(-90_000),
    renewedAt: at(-20_000),
    expiresAt: at(40_000),
  };
  const { id } = (await node.status()).log;
  await writeFile(path.join(store, `in-progress-${id}.json`), JSON.stringify(lease));
}

test("while another node uploads, the command reports that nothing was saved, and that node with its progress and lease", async () => {
  const its = await scene();
  await leaseOf("node-7", its);
  const { code, stdout, stderr } = await its.create();
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(
    /^CHECKPOINT_RUNNING: Nothing was saved: node-7 is uploading a checkpoint \(3 MiB, begun at 20/,
  );
  expect(stderr).toMatch(
    /hint: Run the command again when that upload has ended\. Its lease ends at 20\S+ \S+ UTC \(in (?:3\d|40) s\)/,
  );
});

test("a lease that an earlier process of the node left behind is reported with its expiry time, even in JSON", async () => {
  const its = await scene();
  await leaseOf("n1", its);
  const { create } = its;
  const told = await create();
  expect(told.code).toBe(1);
  expect(told.stderr).toContain("n1 is uploading a checkpoint (3 MiB");
  const json = await create("--json");
  expect(json.code).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({
    skipped: "leased",
    because: expect.stringContaining("unless it is renewed, its lease ends at"),
    lease: { owner: "n1", bytes: 3 << 20, since: expect.any(String) },
  });
});

test(
  "while the node is saving a checkpoint, the command waits, because that one may lack the newest transactions",
  { tags: "rest/slow" },
  async () => {
    const { node, create } = await scene();
    for (let n = 0; n < 20; n += 1) {
      const document = randomBytes(600_000).toString("base64");
      await node.submit({ ops: [["put", "pods", `default/${n}`, document]] });
    }
    const [first, second] = await Promise.all([create(), create()]);
    const results = [first, second].map(({ code, stderr }) => ({ code, stderr }));
    expect(results).toEqual([1, 2].map(() => ({ code: 0, stderr: "" })));
    expect([first.stdout, second.stdout].toSorted()).toEqual([
      expect.stringMatching(/^saved checkpoint-22-/),
      "skipped: nothing has changed since the newest checkpoint\n",
    ]);
    expect(await node.checkpoints()).toHaveLength(1);
  },
);

test("if nothing has changed, the command reports that and succeeds, because everything is saved", async () => {
  const { create } = await scene();
  expect((await create()).stdout).toMatch(/^saved checkpoint-2-/);
  expect(await create()).toMatchObject({
    code: 0,
    stdout: "skipped: nothing has changed since the newest checkpoint\n",
  });
});

test("if another program has found the newest checkpoint damaged, it is listed as damaged, replaced by the command, and pruned", async () => {
  const { store, create, node } = await scene();
  await create();
  const [name = ""] = (await node.checkpoints()).map((one) => one.name);
  const archive = path.join(store, `${name}.tar`);
  const bytes = await readFile(archive);
  bytes[600] = (bytes[600] ?? 0) ^ 1;
  await writeFile(archive, bytes);
  expect(await create()).toMatchObject({ stdout: expect.stringMatching(/^skipped: /) });
  const unmarked = await cairn(["checkpoint", "verify", store, "--no-mark"]);
  expect([unmarked.code, unmarked.stderr]).toEqual([1, expect.stringMatching(/^CHECKPOINT_CORRUPT: /)]);
  expect(await create()).toMatchObject({ stdout: expect.stringMatching(/^skipped: /) });
  expect((await cairn(["checkpoint", "verify", store])).code).toBe(1);
  expect(await node.checkpoints()).toMatchObject([{ name, damaged: true }]);
  for (const from of [["--url", node.url ?? ""], [store]]) {
    const listed = await cairn(["checkpoint", "list", ...from]);
    expect(listed.stdout).toMatch(new RegExp(`STATE\n${name} .* damaged\n$`));
  }
  expect((await cairn(["checkpoint", "show", store])).stdout).toMatch(
    /^Damaged +yes, as found when it was read back/m,
  );
  expect((await create()).stdout).toMatch(/^saved checkpoint-2-/);
  expect((await cairn(["checkpoint", "prune", store])).stdout).toMatch(
    new RegExp(`stays +${name} .* it was found damaged\n`),
  );
  const pruned = await cairn(["checkpoint", "prune", store, "--damaged"]);
  expect(pruned.stdout).toMatch(new RegExp(`removed +${name} .* it was found damaged\n`));
  expect((await readdir(store)).filter((file) => file.startsWith(name))).toEqual([]);
});
