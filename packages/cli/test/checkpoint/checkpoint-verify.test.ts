// @module-tag nats
import { cp, readdir, truncate, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { INDEX_VERSION } from "@cairn/engine";
import { transactionRowKey } from "@cairn/engine/src/index/rows/row-keys";
import { saveAltered } from "@cairn/test-support/nodes/altered-index";
import { type TrimScene, trimScene, twoCheckpoints } from "@cairn/test-support/nodes/trim-scene";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { runCairn } from "@cairn/test-support/cairn-process";
import { mountSmallDisk } from "@cairn/test-support/small-disk";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";

/** Runs the command on the scene's NATS server and store; `-j {}` is an empty configuration. */
function verify({ folder, natsUrl }: TrimScene, ...argv: string[]): Promise<CommandResult> {
  const env = {
    NATS_URL: natsUrl,
    CAIRN_NODE_ID: "operator",
    CAIRN_DIR: path.join(folder, "operator"),
    CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints"),
  };
  return cairn(["checkpoint", "verify", ...argv], new CapturedTerminal({ cwd: folder, env }));
}

async function marks({ folder }: TrimScene): Promise<string[]> {
  return (await readdir(path.join(folder, "checkpoints"))).filter((name) => name.endsWith(".verified.json"));
}

it(
  "checkpoint verify with a configuration compares the newest checkpoint of its store with the log, and marks it",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const [, newer] = await twoCheckpoints(scene);
    const { code, stdout } = await verify(scene, "-j", "{}");
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(
        new RegExp(
          `^${newer} is intact \\(transaction 21, sha256:[0-9a-f]{64}\\); it agrees with the log; marked as verified\n$`,
        ),
      ),
    ]);
    expect(await marks(scene)).toEqual([`${newer}.verified.json`]);
  },
);

it(
  "checkpoint verify uses the newest checkpoint of its own version, even if one of another version is newer, and rejects the latter",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const [, newer] = await twoCheckpoints(scene);
    const theirs = await saveAltered(scene, "first", { version: INDEX_VERSION + 1 });
    const { code, stdout } = await verify(scene, "-j", "{}");
    expect([code, stdout]).toEqual([0, expect.stringContaining(`${newer} is intact`)]);
    const named = await verify(scene, theirs, "-j", "{}");
    expect([named.code, named.stderr]).toEqual([1, expect.stringMatching(/^INDEX_VERSION: /)]);
    expect(await marks(scene)).toEqual([`${newer}.verified.json`]);
  },
);

it(
  "checkpoint verify ends with 1 and names the newest checkpoint if it is damaged, and verifies the one before it",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const [older, newer] = await twoCheckpoints(scene);
    await truncate(path.join(scene.folder, "checkpoints", `${newer}.tar`), 1_000);
    for (const argv of [["-j", "{}"], ["checkpoints"]]) {
      const { code, stdout, stderr } = await verify(scene, ...argv);
      expect([code, stdout]).toEqual([1, expect.stringContaining(`${older} is intact`)]);
      expect(stderr).toMatch(
        new RegExp(`${newer} cannot be used[^]*\nCHECKPOINT_INCOMPLETE: ${older} is intact, but`),
      );
    }
    const node = await scene.start("second");
    await node.ready;
    await expect(node.verifyCheckpoint()).rejects.toMatchObject({
      code: "CHECKPOINT_INCOMPLETE",
      message: expect.stringContaining(newer) as string,
    });
  },
);

it(
  "checkpoint verify does not mark an intact checkpoint of a history that the log lost, which only the log shows",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    await twoCheckpoints(scene);
    const lost = await saveAltered(scene, "first", { sha256: "f".repeat(64) });
    for (const argv of [[], [`checkpoints/${lost}`], [lost]]) {
      const { code, stderr } = await verify(scene, ...argv, "-j", "{}");
      expect([code, stderr]).toEqual([3, expect.stringMatching(/^LOG_REGRESSED: Message 31 /)]);
    }
    expect(await marks(scene)).toEqual([]);
    const alone = await verify(scene, `checkpoints/${lost}`, "--json");
    expect(JSON.parse(alone.stdout)).toMatchObject({ name: lost, log: null });
  },
);

it(
  "checkpoint verify does not mark a checkpoint whose index lacks the outcome of a transaction",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    await twoCheckpoints(scene);
    const holed = await saveAltered(scene, "first", {}, [transactionRowKey(12)]);
    const { code, stderr } = await verify(scene, holed, "-j", "{}");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^INDEX_CORRUPT: .*transaction 12 is missing/)]);
    expect(await marks(scene)).toEqual([]);
  },
);

it(
  "checkpoint verify reports that the log was trimmed beyond the checkpoint",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const [older] = await twoCheckpoints(scene);
    const log = await scene.openLog();
    await log.trim?.(20);
    await log.close();
    const { code, stdout } = await verify(scene, `checkpoints/${older}`, "-j", "{}", "--no-mark");
    expect(code).toBe(0);
    expect(stdout).toContain("it was not compared with the log, which begins after it; not marked\n");
    expect(await marks(scene)).toEqual([]);
  },
);

it(
  "checkpoint verify refuses a checkpoint of a log other than the configured one",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    await twoCheckpoints(scene);
    const other = await trimScene("nats");
    const [, newest] = await twoCheckpoints(other);
    await cp(path.join(other.folder, "checkpoints"), path.join(scene.folder, "others"), { recursive: true });
    const { code, stderr } = await verify(scene, `others/${newest}`, "-j", "{}");
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^LOG_DIFFERENT: /)]);
    expect((await verify(scene, `others/${newest}`)).code).toBe(0);
  },
);

it(
  "checkpoint verify uses no checkpoint of a folder with several logs until one is named",
  { tags: "rest/slow" },
  async () => {
    const scene = await trimScene("nats");
    const [, newer] = await twoCheckpoints(scene);
    await saveTo(path.join(scene.folder, "checkpoints"), [5_000]);
    const { code, stderr } = await verify(scene, "checkpoints");
    expect([code, stderr]).toEqual([2, expect.stringContaining("log-1 (cairn)")]);
    expect((await verify(scene, "-j", "{}")).stdout).toContain(`${newer} is intact`);
  },
);

it(
  "checkpoint verify says where there is no space to unpack, and that another folder can be chosen",
  { tags: "rest/root" },
  async () => {
    const folder = await temporaryDirectory();
    await saveTo(path.join(folder, "checkpoints"), [1]);
    const disk = await mountSmallDisk(path.join(folder, "small"), 1);
    onTestFinished(disk.unmount);
    await writeFile(path.join(disk.path, "ballast"), Buffer.alloc(1024 * 1024 - 8192));
    const run = async (...argv: string[]) =>
      await runCairn(["checkpoint", "verify", "checkpoints", ...argv], {
        cwd: folder,
        env: { TMPDIR: disk.path },
      });
    const { code, stderr } = await run();
    expect([code, stderr]).toEqual([3, expect.stringMatching(/^DISK_FULL: /)]);
    expect(stderr).toContain(
      `hint: Free some space in ${disk.path}, or choose a folder on another disk with --staging`,
    );
    expect((await run("--staging", folder)).stderr).not.toMatch(/DISK_FULL/);
    const restore = async () =>
      await runCairn(["checkpoint", "restore", "checkpoints", "-o", path.join(disk.path, "r")], {
        cwd: folder,
      });
    const refused = await restore();
    expect(refused.stderr).toContain(
      `hint: Free some space in ${disk.path}, and run the command again. Nothing`,
    );
    await rm(path.join(disk.path, "ballast"));
    expect((await restore()).stderr).not.toMatch(/DISK_FULL/);
  },
);
