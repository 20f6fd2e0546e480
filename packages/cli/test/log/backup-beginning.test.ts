// @module-tag nats
import { readdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "@cairn/kv";
import { lookAtBackup } from "@cairn/engine/src/backup/write/backup-look";
import { beginFile } from "@cairn/engine/src/backup/segments/segment-name";
import { noMemory } from "@cairn/test-support/nodes/backup-scene";
import { BACKED_UP, backedUp, done, run as runIn } from "@cairn/test-support/nodes/recovery-scene";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { put as putNumbers } from "@cairn/test-support/nodes/trim-scene";
import type { CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { type BackupCommands, backupCommands } from "./backup-commands.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

/** Sets up a backup from which everything up to 10 was pruned. The log still contains it. */
async function pruned(): Promise<BackupCommands> {
  const commands = await backupCommands(1, 6, 11, 21, 32);
  await commands.scene.verify(commands.older);
  expect((await commands.configured("prune", "--through", "8")).code).toBe(0);
  return commands;
}

async function look({ withTarget }: BackupCommands): Promise<unknown> {
  return await withTarget(async (target) => {
    const options = { ...target, every: 60_000, forced: true, clock: systemClock, memory: noMemory() };
    return await lookAtBackup(options);
  });
}

describe("cairn log backup verify", () => {
  it("names the checkpoint from which a backup whose beginning was removed can be used", async () => {
    const { configured, newer } = await pruned();
    expect((await configured("verify")).stdout).toMatch(
      new RegExp(
        `is intact: transactions 11 to 31 .*; it begins where a .begin file records; an index can be built starting from ${newer};`,
      ),
    );
  });

  it(
    "reports a missing .begin file, with or without the log, and how to record the beginning again",
    { tags: "rest/slow" },
    async () => {
      const { id, store, configured, run } = await pruned();
      await rm(path.join(store, beginFile(id, 11)));
      expect((await run("verify", store)).stdout).toMatch(/^LOG_GAP: Transactions 1 to 10 are missing /);
      expect(await configured("verify")).toMatchObject({
        code: 1,
        stdout: expect.stringMatching(/^LOG_GAP: Transactions 1 to 10 are missing .* --through 10\n$/),
      });
      expect((await configured("prune", "--through", "10")).code).toBe(0);
      expect(await configured("verify")).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("a .begin file"),
      });
    },
  );

  it(
    "names a .begin file beyond the end, which does not keep nodes from writing",
    { tags: "rest/slow" },
    async () => {
      const commands = await pruned();
      const { scene, id, store, configured } = commands;
      await rename(path.join(store, beginFile(id, 11)), path.join(store, beginFile(id, 60)));
      const { stdout } = await configured("verify");
      expect(stdout).toMatch(
        /^SEGMENT_CORRUPT: .*0060\.begin, .* begins after its last transaction, 31\. Remove the file/m,
      );
      const node = await scene.start("writer");
      await node.ready;
      await putNumbers(node, 40, 45);
      await node.close();
      expect(await look(commands)).toMatchObject({ covered: [{ first: 1, last: 36 }] });
      // This follows the hint.
      await rm(path.join(store, beginFile(id, 60)));
      expect((await configured("verify")).code).toBe(0);
    },
  );

  it("reports a backup that cannot be restored because no checkpoint leads into it", async () => {
    const { scene, store, configured } = await pruned();
    const files = await scene.store.list("checkpoint-");
    for (const { name } of files) await rm(path.join(store, name));
    const { code, stdout } = await configured("verify");
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^LOG_GAP: The log backup .* begins with transaction 11, and no checkpoint .* leads into it/,
    );
    // This follows the hint.
    const node = await scene.start("saver");
    await node.ready;
    await saveCheckpoint(node);
    await node.close();
    expect((await configured("verify")).code).toBe(0);
  });
});

describe("cairn log backup verify of a log that continues another one", () => {
  let scene: ClusterScene;
  let older = "";
  let verify: () => Promise<CommandResult>;
  beforeEach(async () => {
    scene = await ClusterScene.open();
    verify = () => runIn(scene, "log", "backup", "verify");
    const node = await scene.ready("a", { parts: BACKED_UP });
    await backedUp(node, await put(node, 0, 5, "before"));
    older = (await node.status()).log.id ?? "";
    await scene.stop(node);
    await scene.loseLog();
    await done(scene, "log", "recover");
    const next = await scene.ready("a", { parts: BACKED_UP });
    await backedUp(next, await put(next, 0, 5, "after"));
    await scene.stop(next);
  });
  afterEach(() => scene.close());

  const folder = (): string => path.join(scene.folder, "checkpoints", `log-${older}`);

  it("finds everything intact back to the beginning of the first log", { tags: "rest/slow" }, async () => {
    expect(await verify()).toMatchObject({ code: 0, stdout: expect.stringMatching(/messages\)\n$/) });
  });

  it.each([
    ["gone", async () => await rm(folder(), { recursive: true })],
    ["damaged", async () => await damageAll(folder())],
  ])(
    "reports that nothing leads into it when the backup of the earlier log is %s",
    { tags: "rest/slow" },
    async (_what, breakIt) => {
      // The checkpoint with which the log was begun would lead into it.
      const store = path.join(scene.folder, "checkpoints");
      for (const name of await readdir(store))
        if (name.startsWith("checkpoint-")) await rm(path.join(store, name));
      await breakIt();
      const { code, stdout } = await verify();
      expect(code).toBe(1);
      expect(stdout).toMatch(/^LOG_GAP: .* begins with transaction 7, and no checkpoint there leads into it/);
      // As the hint explains, a checkpoint makes the backup usable again, and the command reports the missing part.
      const node = await scene.ready("a", { parts: BACKED_UP });
      await saveCheckpoint(node);
      await scene.stop(node);
      expect(await verify()).toMatchObject({
        code: 0,
        stdout: expect.stringContaining(`it continues the log ${older}, whose backup does not go back`),
      });
    },
  );
});

async function damageAll(folder: string): Promise<void> {
  for (const name of await readdir(folder)) await writeFile(path.join(folder, name), "damaged");
}
