import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  CairnError,
  type KvProvider,
  type KvStore,
  levelProvider,
  systemErrorOf,
  systemRefused,
} from "@cairn/kv";
import { expect, it, onTestFinished, vi } from "vitest";
import { openEmbeddedTxLog } from "@cairn/engine";
import { reactionTo } from "@cairn/engine/src/node/failure-policy";
import { runNode } from "../src/start-node.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

const key = (name: string) => ({ bucket: "pods", namespace: "default", name });

function refusal(errno: string): CairnError {
  const cause = Object.assign(new Error(`${errno}: open`), { code: errno });
  const system = systemErrorOf(cause);
  if (system === undefined) throw new Error(`${errno} is not in the table`);
  return systemRefused("The index", system, cause);
}

/** Returns a LevelDB provider whose stores refuse to be opened, and refuse every batch, while `refused` is set. */
function refusable(): { provider: KvProvider; refused: CairnError | undefined } {
  const level = levelProvider();
  const control: { provider: KvProvider; refused: CairnError | undefined } = {
    refused: undefined,
    provider: {
      ...level,
      async open(dir) {
        if (control.refused !== undefined) throw control.refused;
        const store = await level.open(dir);
        const batch: KvStore["batch"] = async (...wanted) => {
          if (control.refused !== undefined) throw control.refused;
          await store.batch(...wanted);
        };
        return new Proxy(store, {
          get: (target, name) => {
            if (name === "batch") return batch;
            const value: unknown = Reflect.get(target, name, target);
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
      },
    },
  };
  return control;
}

it.each([
  ["EMFILE", "restoring"],
  ["ENOMEM", "restoring"],
  ["EIO", "failed"],
  ["EROFS", "failed"],
  ["EACCES", "failed"],
  ["ENOSPC", "failed"],
])(
  "a node that receives %s from the system is %s, keeps its index, and recovers by itself",
  async (errno, phase) => {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-refused-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const control = refusable();
    const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
    const system = quietSystem({ folder, nodeId: "a", openTxLog });
    const node = await runNode({ ...system, kvProvider: control.provider });
    onTestFinished(() => node.close());
    await node.ready;
    await node.await((await node.submit({ ops: [["put", "pods", "before", 1]] })).txId);

    control.refused = refusal(errno);
    const { code } = control.refused;
    const { txId } = await node.submit({ ops: [["put", "pods", "during", 2]] });
    await vi.waitFor(
      async () => expect(await node.status()).toMatchObject({ phase, failure: { code, retries: true } }),
      {
        timeout: 10_000,
      },
    );
    // An attempt is short, and the pauses become longer.
    await vi.waitFor(async () => {
      const { failure } = await node.status();
      expect(Date.parse(failure?.nextTryAt ?? "")).toBeGreaterThan(Date.now());
    });

    control.refused = undefined;
    await vi.waitFor(async () => expect((await node.status()).phase).toBe("ready"), { timeout: 20_000 });
    await node.await(txId);
    expect(await node.get(key("before"))).toMatchObject({ json: "1" });
    expect(await node.get(key("during"))).toMatchObject({ json: "2" });
    expect((await node.status()).join.movedAside).toEqual([]);
    expect(await readdir(path.join(folder, "a-index"))).not.toContain("quarantine");
  },
);

it("a node whose user may no longer list its index answers, and reports that", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-refused-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o777);
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const system = quietSystem({ folder, nodeId: "a", openTxLog });
  const node = await runNode(system);
  onTestFinished(() => node.close());
  await node.ready;
  await node.await((await node.submit({ ops: [["put", "pods", "before", 1]] })).txId);

  await chmod(system.dbDir, 0o700);
  onTestFinished(() => chmod(system.dbDir, 0o700));
  // Permissions do not apply to root.
  if (process.getuid?.() === 0) {
    process.seteuid?.(65_534);
    onTestFinished(() => process.seteuid?.(0));
  } else await chmod(system.dbDir, 0);
  // What was measured before is kept for a moment.
  await vi.waitFor(
    async () =>
      expect(await node.status()).toMatchObject({
        phase: "ready",
        index: { bytes: null, warning: { code: "CONFIG_INVALID" } },
        findings: [{ code: "index-files-missing", message: expect.stringContaining("EACCES") }],
      }),
    { timeout: 20_000 },
  );
  expect(await node.get(key("before"))).toMatchObject({ json: "1" });
});

it("a node on a disk that does not list the index answers, and reports that", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-refused-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const system = quietSystem({ folder, nodeId: "a", openTxLog });
  const { kvProvider } = system;
  const open: KvProvider["open"] = async (...given) =>
    Object.assign(await kvProvider.open(...given), { stats: () => new Promise<never>(() => {}) });
  const node = await runNode({ ...system, kvProvider: { ...kvProvider, open } });
  onTestFinished(() => node.close());
  await node.ready;

  expect(await node.status()).toMatchObject({
    phase: "ready",
    index: { bytes: null, warning: { code: "SYSTEM_REFUSED" } },
    findings: [{ code: "index-files-missing", severity: "attention" }],
  });
});

it("a node halts on errors of its configuration", () => {
  const error = new CairnError("CONFIG_INVALID", "Wrong.");
  expect(reactionTo(error, "joining")).toEqual({ kind: "halt" });
});
