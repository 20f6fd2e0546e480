// @module-tag nats
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { filesystemStore } from "@cairn/checkpoint";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { readerParts } from "./reader-scene.ts";
import { BACKED_UP, backedUp, done } from "@cairn/test-support/nodes/recovery-scene";

/** Returns the configuration of a node that reads the backup. */
function reading(): string[] {
  const folder = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "checkpoints" };
  const log = { "cairn/module": "cairn.log-backup/->tx-log", store: folder };
  return ["-j", JSON.stringify({ "cairn/tx-log": log })];
}

describe("commands with the configuration or the address of a node that reads a backup", () => {
  let scene: ClusterScene;
  beforeEach(async () => {
    scene = await ClusterScene.open();
  });
  afterEach(() => scene.close());

  const run = async (...args: string[]): Promise<CommandResult> =>
    await cairn(args, new CapturedTerminal({ cwd: scene.folder }));
  const startReader = async (): Promise<string[]> => {
    const store = filesystemStore({ path: path.join(scene.folder, "checkpoints") });
    const reader = await scene.start("reader", { parts: readerParts(store) });
    return ["--url", reader.url ?? ""];
  };

  it(
    "cairn status --wait waits for the first segments, and reports until then that they are missing",
    { tags: "rest/slow" },
    async () => {
      const node = await startReader();
      const early = await run("status", "--wait", "PT0.5S", ...node);
      expect(early).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(
          /^NOT_READY: .*There is no backup of a log in .*\n {2}hint: .*"log-backup"/,
        ),
      });
      const waiting = run("status", "--wait", "PT30S", "--json", ...node);
      const writer = await scene.ready("writer", { parts: BACKED_UP });
      const { code, stdout } = await waiting;
      const location = `file://${path.join(scene.folder, "checkpoints")}`;
      expect([code, JSON.parse(stdout)]).toMatchObject([
        0,
        { phase: "ready", log: { location, backup: { location } } },
      ]);
      const alone = "a node that reads a backup does not hear of others";
      const cluster = await run("status", "--cluster", "--expect", "2", ...node, ...reading());
      expect(cluster).toMatchObject({ code: 1, stdout: expect.stringMatching(/^Phase +ready/m) });
      expect(cluster.stderr.split(alone)).toHaveLength(3);
      await scene.stop(writer);
    },
  );

  it(
    "cairn log recover and create are refused, but accept the configuration of a node that writes the log",
    { tags: "rest/slow" },
    async () => {
      const writer = await scene.ready("writer", { parts: BACKED_UP });
      await backedUp(writer, await put(writer, 0, 5, "value"));
      await scene.stop(writer);
      const node = await startReader();
      await scene.loseLog();
      for (const command of ["recover", "create"]) {
        const refused = await run("log", command, ...reading());
        expect(refused).toMatchObject({
          code: 3,
          stderr: expect.stringMatching(
            /^LOG_READ_ONLY: .* backup in .*checkpoints.*\n {2}hint: .* a node that has access to the log itself \(-f FILE\)/,
          ),
        });
      }
      expect(await done(scene, "log", "recover")).toContain("continues after transaction 6 of");
      const again = await scene.ready("writer", { parts: BACKED_UP });
      await backedUp(again, await put(again, 5, 6, "since"));
      const followed = async (): Promise<void> =>
        expect((await run("get", "things", "default/k5", ...node)).stdout).toContain("since");
      await vi.waitFor(followed, { timeout: 30_000 });
    },
  );

  it("cairn log backup status, list and verify inspect the store from which the node reads", async () => {
    const writer = await scene.ready("writer", { parts: BACKED_UP });
    await backedUp(writer, await put(writer, 0, 5, "value"));
    const config = reading();
    expect((await run("log", "backup", "status", ...config)).stdout).toMatch(
      /Covered +1 to 6\n[^]*Exposed +unknown\n$/,
    );
    expect((await run("log", "backup", "list", ...config)).stdout).toContain(".segment");
    expect((await run("log", "backup", "verify", ...config)).stdout).toContain(
      "is intact: transactions 1 to 6",
    );
    expect((await run("log", "backup", "prune", "--through", "3", ...config)).stderr).toMatch(
      /^USAGE: .*\n {2}hint: .* a node that writes the log/,
    );
  });
});

describe("cairn status --wait of a node whose log is behind its backup", () => {
  it(
    "ends once the node is ready, and reports the transactions that only the backup contains",
    { tags: "rest/slow" },
    async () => {
      const scene = await ClusterScene.open();
      try {
        const first = await scene.ready("a", { parts: BACKED_UP });
        await put(first, 0, 3, "kept");
        await scene.stop(first);
        await scene.copyLog();
        const again = await scene.ready("a", { parts: BACKED_UP });
        await backedUp(again, await put(again, 3, 8, "lost"));
        await scene.stop(again);
        await scene.rollBackLog();
        const http = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };
        const node = await scene.start("b", { parts: { ...BACKED_UP, http } });
        const terminal = (): CapturedTerminal => new CapturedTerminal({ cwd: scene.folder });
        const status = async (): Promise<CommandResult> =>
          await cairn(["status", "--wait", "PT30S", "--url", node.url ?? ""], terminal());
        const { code, stdout } = await status();
        expect([code, stdout]).toEqual([0, expect.stringMatching(/^Phase +ready/m)]);
        let shown = stdout;
        while (!shown.includes("The log is not backed up")) shown = (await status()).stdout;
        expect(shown).toMatch(/^Log backup +unknown until a look succeeds; exposed: unknown$/m);
        expect(shown).toMatch(
          /^Attention +LOG_REGRESSED: The log is not backed up\. .* transaction 9, .*\n +Meanwhile, .*\n +.*orphans --from-backup/m,
        );
      } finally {
        await scene.close();
      }
    },
  );
});
