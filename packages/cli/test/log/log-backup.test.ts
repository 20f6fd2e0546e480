// @module-tag nats
import { cp, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseCheckpointName } from "@cairn/checkpoint";
import { systemClock } from "@cairn/kv";
import { describe, expect, it, onTestFinished } from "vitest";
import { lookAtBackup } from "@cairn/engine/src/backup/write/backup-look";
import { beginFile, listBackup } from "@cairn/engine/src/backup/segments/segment-name";
import { damageSegment, ofOtherVersion, runs, writeRuns } from "@cairn/test-support/nodes/trimmed-backup";
import { put, type TrimScene } from "@cairn/test-support/nodes/trim-scene";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { backupCommands } from "./backup-commands.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

describe("cairn log backup", () => {
  it(
    "status and list show the content of a store, and the exposed part of the log",
    { tags: "rest/slow" },
    async () => {
      const { id, store, configured, run } = await backupCommands(1, 6, 11, 30);
      const { code, stdout, stderr } = await run("status", store);
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(
        /^Store +file:\/\/.*\nLog +\S+\nCovered +1 to 29\nSegments +3, .*\nNewest +.*\nExposed +unknown\n$/,
      );
      expect((await configured("status")).stdout).toMatch(/Exposed +2 transactions, \d+/);
      // A place does not keep the log of a configuration from being compared with it.
      expect((await configured("status", store)).stdout).toMatch(/Exposed +2 transactions, \d+/);
      expect(JSON.parse((await configured("status", "--json")).stdout)).toMatchObject({
        logId: id,
        covered: [{ first: 1, last: 29 }],
        holes: [],
        exposed: { transactions: 2, since: expect.any(String) },
      });
      const listed = (await run("list", store, "--json")).stdout.trim().split("\n");
      expect(listed.map((line) => JSON.parse(line) as object)).toMatchObject([
        { first: 1, last: 5 },
        { first: 6, last: 10 },
        { first: 11, last: 29 },
      ]);
      expect((await configured("list")).stdout).toMatch(/^NAME +FIRST +LAST +SIZE +WRITTEN\nlog-/);
    },
  );

  it("status counts the log's transactions that are in no segment, including those in a hole or a removed part", async () => {
    const { scene, older, newer, store, configured } = await backupCommands(1, 6, 11, 30);
    const exposed = async (): Promise<unknown> =>
      (JSON.parse((await configured("status", "--json")).stdout) as { exposed: unknown }).exposed;
    const { segments } = await listBackup(scene.store, (await listedLog(scene)) ?? "");
    await rm(path.join(store, segments[1]?.name ?? ""));
    expect(await exposed()).toEqual({ transactions: 7, since: expect.any(String) });
    await scene.verify(older);
    await configured("prune", "--through", "10");
    expect(await exposed()).toEqual({ transactions: 2, since: expect.any(String) });
    await scene.verify(newer);
    await configured("prune", "--through", "21");
    expect(await exposed()).toEqual({ transactions: 2, since: expect.any(String) });
    expect((await configured("status")).stdout).toMatch(/Covered +nothing\nSegments +none\n/);
  });

  it("status shows when the newest segment was written, even if a clock was ahead at an older one", async () => {
    const { scene, store, configured } = await backupCommands(1, 6, 11);
    const { segments } = await listBackup(scene.store, (await listedLog(scene)) ?? "");
    const [older, newest] = segments;
    const ahead = new Date(Date.now() + 1_000 * 86_400_000);
    await utimes(path.join(store, older?.name ?? ""), ahead, ahead);
    expect(JSON.parse((await configured("status", "--json")).stdout)).toMatchObject({
      newestAt: new Date(newest?.modifiedAt ?? 0).toISOString(),
    });
  });

  it("status does not claim that nothing is exposed while the log lacks transactions of its backup", async () => {
    const { scene, configured, withTarget } = await backupCommands(1, 21);
    await cp(path.join(scene.folder, "log"), path.join(scene.folder, "copy"), { recursive: true });
    await writeMore(scene, 40, 45);
    await withTarget((target) => writeRuns(target, 21, 37));
    await rollBack(scene);
    const { stdout } = await configured("status");
    const printed = / cairn log orphans -e '\{[^]*\}' --from-backup > FILE/;
    expect(stdout).toMatch(/Exposed +unknown\nFailure +LOG_REGRESSED: /);
    expect(stdout).toMatch(printed);
    expect(JSON.parse((await configured("status", "--json")).stdout)).toMatchObject({
      lastFailure: { hint: expect.stringMatching(printed) },
    });
  });

  it("status and list show the backup of a log that cannot be read now", async () => {
    const { scene, store, configured, run } = await backupCommands(1, 32);
    const log = await scene.openLog();
    onTestFinished(() => log.close());
    const { code, stdout, stderr } = await configured("status");
    expect([code, stderr]).toEqual([
      0,
      expect.stringMatching(/^notice: the log cannot be read: INDEX_LOCKED: /),
    ]);
    expect(stdout).toMatch(/Covered +1 to 31\n[^]*Exposed +unknown\n$/);
    expect((await configured("list")).stdout).toContain(".segment");
    expect(await configured("verify")).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(
        /^INDEX_LOCKED[^]* with the folder of the store in place of a configuration/,
      ),
    });
    expect(await run("verify", store, "--rebuild")).toMatchObject({ code: 0 });
  });

  it("status shows holes, and how they can be filled", async () => {
    const { scene, store, configured, run, withTarget } = await backupCommands(1, 6, 11, 32);
    const { segments } = await listBackup(scene.store, (await listedLog(scene)) ?? "");
    await rm(path.join(store, segments[1]?.name ?? ""));
    expect((await run("status", store)).stdout).toMatch(
      /Hole +LOG_GAP: Transactions 6 to 10 are missing .* Do nothing if the log still holds them/,
    );
    expect((await configured("status")).stdout).toContain("The log still holds them");
    await withTarget(async ({ log }) => await log.trim?.(11));
    expect((await configured("status")).stdout).toMatch(/Hole +LOG_GAP: .* put their files back/);
  });

  it("restores no point within a hole, and names the last one before it", async () => {
    const { scene, store, newer } = await backupCommands(1, 6, 11, 32);
    const newest = parseCheckpointName(newer)?.txId ?? 0;
    const { segments } = await listBackup(scene.store, (await listedLog(scene)) ?? "");
    await rm(path.join(store, segments[1]?.name ?? ""));
    const restoreAt = async (txId: string): Promise<CommandResult> =>
      await cairn(
        ["checkpoint", "restore", store, "--at-tx", txId, "-o", `at-${txId}`, "--json"],
        new CapturedTerminal({ cwd: scene.folder }),
      );
    expect(await restoreAt("8")).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/leads exactly to transaction 8\..*"--at-tx 5 restores the last earlier/),
    });
    expect(JSON.parse((await restoreAt("5")).stdout)).toMatchObject({ txId: 5 });
    const before = await restoreAt("4");
    expect(before.stderr).toBe("");
    const beforeAll = ["checkpoint", "restore", store, "--at", "2000-01-01T00:00:00Z", "-o", "before"];
    expect(await cairn(beforeAll, new CapturedTerminal({ cwd: scene.folder }))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND: /),
    });
    await rm(path.join(store, `${newer}.tar`));
    expect((await restoreAt(String(newest))).stderr).toMatch(
      new RegExp(`^notice: ${newer} cannot be used, and is passed over: CHECKPOINT_`, "m"),
    );
    expect(JSON.parse(before.stdout)).toMatchObject({ txId: 4 });
  });

  it.each([
    ["one of several segments", [1, 6, 11, 32], 6],
    ["the only segment", [1, 32], 1],
  ])("restores a point from the log itself if the backup is damaged: %s", async (_, bounds, first) => {
    const { scene, store, edn, withTarget } = await backupCommands(...bounds);
    let count = 0;
    const restore = (...args: string[]): Promise<CommandResult> =>
      cairn(
        ["checkpoint", "restore", "--at-tx", "8", "-o", `restored-${(count += 1)}`, "--json", ...args],
        new CapturedTerminal({ cwd: scene.folder }),
      );
    const intact = await restore(store);
    const damaged = await withTarget(async (target) => await damageSegment(scene, target, first));
    const restored = await restore("-e", edn);
    expect(restored).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(
        new RegExp(
          `^notice: a segment of the log backup cannot be used, and is passed over: SEGMENT_CORRUPT: .*${damaged}`,
        ),
      ),
    });
    const { digest } = JSON.parse(intact.stdout) as { digest: string };
    expect(JSON.parse(restored.stdout)).toMatchObject({ txId: 8, digest });
    // Without the log, or if it does not hold the transaction, nothing else leads there.
    const alone = await restore(store, "--log", (await listedLog(scene)) ?? "");
    expect(alone).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^\{"error":\{"code":"SEGMENT_CORRUPT"/),
    });
    await withTarget(async ({ log }) => await log.trim?.(11));
    const trimmed = await restore("-e", edn, "--log", (await listedLog(scene)) ?? "");
    expect(trimmed).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^\{"error":\{"code":"SEGMENT_CORRUPT"/m),
    });
  });

  it("names the checkpoint from which a point was restored, not a damaged one", async () => {
    const { scene, store, older, newer } = await backupCommands(1, 32);
    const archive = path.join(store, `${newer}.tar`);
    const bytes = await readFile(archive);
    await writeFile(archive, bytes.fill(1, bytes.length / 2));
    const { stdout, stderr } = await cairn(
      ["checkpoint", "restore", store, "--at-tx", "25", "-o", "restored", "--json"],
      new CapturedTerminal({ cwd: scene.folder }),
    );
    expect(stderr).toMatch(new RegExp(`^notice: ${newer} cannot be used, and is passed over: CHECKPOINT_`));
    expect(JSON.parse(stdout)).toMatchObject({ name: older, txId: 25 });
  });

  it("cairn log status names the log that continues an old copy of the log", async () => {
    const { scene, id, edn, withTarget } = await backupCommands(1, 32);
    const status = async () => {
      const { stdout } = await cairn(
        ["log", "status", "--json", "-e", edn],
        new CapturedTerminal({ cwd: scene.folder }),
      );
      return JSON.parse(stdout) as { id: string; successor: string | null };
    };
    expect(await status()).toMatchObject({ id, successor: null });
    const [log, old] = [path.join(scene.folder, "log"), path.join(scene.folder, "old")];
    await rename(log, old);
    const recovered = await cairn(["log", "recover", "-e", edn], new CapturedTerminal({ cwd: scene.folder }));
    expect(recovered).toMatchObject({ code: 0, stderr: "" });
    const successor = await withTarget(async (target) => {
      await target.log.append(Buffer.from("a transaction of its own"));
      await writeRuns(target, 1, 3);
      return target.of.id;
    });
    expect(await status()).toMatchObject({ id: successor, successor: null });
    await rm(log, { recursive: true });
    await rename(old, log);
    expect(await status()).toMatchObject({ id, successor });
  });

  it("verify finds no problems in an intact backup, and compares it with checkpoints and with a rebuild", async () => {
    const { store, configured, run, newer } = await backupCommands(1, 6, 15, 32);
    const { code, stdout } = await configured("verify");
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(
        /is intact: transactions 1 to 31 \(3 segments, .*, 31 messages\); it agrees with 2 checkpoints\n$/,
      ),
    ]);
    const rebuilt = await run("verify", store, "--rebuild", "--json");
    expect(rebuilt).toMatchObject({ code: 0, stderr: "" });
    expect(JSON.parse(rebuilt.stdout)).toMatchObject({ ok: true, rebuilt: { checkpoint: newer, txId: 21 } });
  });

  it("verify rebuilds from another checkpoint if the backup begins later", async () => {
    const { scene, id, store, run, older, newer } = await backupCommands(11, 15, 32);
    await scene.store.create(beginFile(id, 11), "{}");
    const rebuilt = await run("verify", store, "--rebuild");
    expect(rebuilt.stdout).toContain(`an index built from it has the digest of ${newer}`);
    expect(JSON.parse((await run("verify", store, "--rebuild", "--json")).stdout)).toMatchObject({
      rebuilt: { basis: expect.stringContaining(older) },
    });
  });

  it("verify does not call a backup damaged that begins at its only checkpoint", async () => {
    const { scene, id, store, run, older, newer } = await backupCommands(21, 32);
    await scene.store.create(beginFile(id, 21), "{}");
    for (const { name } of await scene.store.list(older)) await rm(path.join(store, name));
    expect(await run("verify", store)).toMatchObject({ code: 0 });
    expect(await run("verify", store, "--rebuild")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        new RegExp(
          `^CHECKPOINT_NOT_FOUND: No index can be built to compare with ${newer}: .*\n.*After the next transaction, save a checkpoint`,
        ),
      ),
    });
  });

  it("verify names damaged, renamed, foreign and missing files, and ends with 1", async () => {
    const { scene, id, store, run, withTarget } = await backupCommands(1, 6, 11, 16, 21, 32);
    const damaged = await withTarget(async (target) => await damageSegment(scene, target, 6));
    const { segments } = await listBackup(scene.store, id);
    const [, , third, fourth] = segments.map(({ name }) => path.join(store, name));
    const renamed = (third ?? "").replace("0011-", "0012-");
    await rename(third ?? "", renamed);
    await rm(fourth ?? "");
    await writeFile(path.join(store, `log-${id}`, "notes.txt"), "mine");
    const { code, stdout, stderr } = await run("verify", store);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^SEGMENT_CORRUPT: The log backup in .* has 4 problems\.\n/);
    const lines = stdout.trim().split("\n");
    expect(lines).toHaveLength(4);
    expect(lines[0]).toContain(`SEGMENT_CORRUPT: log-${id}/notes.txt is not a file of the log backup.`);
    expect(lines[1]).toContain(`SEGMENT_CORRUPT: The segment ${damaged} is damaged`);
    expect(lines[2]).toMatch(
      /^SEGMENT_CORRUPT: .*0012-.*it holds transactions 11 to 15, which contradicts its name/,
    );
    expect(lines[3]).toMatch(/^LOG_GAP: Transactions 6 to 20 are missing/);
  });

  it("verify finds segments, a checkpoint and a log that contradict each other", async () => {
    const { scene, store, configured, run, withTarget } = await backupCommands(1, 21);
    await cp(path.join(scene.folder, "log"), path.join(scene.folder, "copy"), { recursive: true });
    await writeMore(scene, 40, 45);
    await withTarget((target) => writeRuns(target, 15, 37));
    expect((await run("verify", store)).code).toBe(0);
    await rollBack(scene);
    const lost = await configured("verify");
    expect(lost).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^LOG_REGRESSED: Transaction 36 in /),
      stderr: expect.stringMatching(/^LOG_REGRESSED: The log backup in .* has 1 problem\.\n/),
    });
    await writeMore(scene, 50, 55);
    await withTarget((target) => writeRuns(target, 30, 36));
    const both = await run("verify", store);
    expect(both.stdout).toMatch(
      /^LOG_REGRESSED: .* transactions 30 to 35 \(log-\S+\.segment\) contradicts the segment of transactions 15 to 36 \(log-\S+\.segment\): .* differ in transaction 32\. .* cairn log backup verify[ ,]/,
    );
    // As the hint explains, a checkpoint decides which of the two segments is kept if there is no log, and the other
    // one is moved out.
    const before = (await scene.store.list("checkpoint-")).map(({ name }) => name);
    const node = await scene.start("saver");
    await node.ready;
    await saveCheckpoint(node);
    await node.close();
    const compared = await run("verify", store);
    const stray = /^LOG_REGRESSED: Transaction 36, with which checkpoint-\S+ ends, differs in (\S+):/m;
    const [, moved = ""] = stray.exec(compared.stdout) ?? [];
    const aside = path.join(scene.folder, "aside.segment");
    await rename(path.join(store, moved), aside);
    expect((await run("verify", store)).stdout).not.toContain("LOG_REGRESSED");
    await rename(aside, path.join(store, moved));
    for (const { name } of await scene.store.list("checkpoint-"))
      if (!before.includes(name)) await rm(path.join(store, name));
    // As the hint explains, the log determines which of the two segments is correct, and only the other one is named
    // and removed.
    const decided = await configured("verify");
    const named = /Transaction 36 in (\S+) differs from the one in the log/.exec(decided.stdout)?.[1] ?? "";
    expect(decided.stdout.trim().split("\n")).toHaveLength(1);
    expect(named).toMatch(/0015-\d+0036-/);
    await rm(path.join(store, named));
    expect(await configured("verify")).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/^LOG_GAP: Transactions 21 to 29 are missing[^\n]*\n$/),
      stderr: expect.stringMatching(/^LOG_GAP: /),
    });
    await withTarget((target) => writeRuns(target, 21, 30));
    expect(await configured("verify")).toMatchObject({ code: 0, stderr: "" });
  });

  it("prune --lost removes only the transactions that the log lost, and the backup continues", async () => {
    const { scene, configured, withTarget } = await backupCommands(1, 21);
    await cp(path.join(scene.folder, "log"), path.join(scene.folder, "copy"), { recursive: true });
    await writeMore(scene, 40, 45);
    await withTarget((target) => writeRuns(target, 21, 34, 37));
    await rollBack(scene);
    await writeMore(scene, 50, 52);
    const look = (): Promise<unknown> =>
      withTarget((target) =>
        lookAtBackup({
          ...target,
          every: 60_000,
          forced: true,
          clock: systemClock,
          memory: { storeClock: undefined, damaged: new Map() },
        }),
      );
    await expect(look()).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    const dry = await configured("prune", "--lost", "--dry-run");
    expect(dry.stdout).toMatch(/^would remove 5 transactions that the log lost, 32 to 36 \(2 segments, /);
    await expect(look()).rejects.toMatchObject({ code: "LOG_REGRESSED" });
    const done = await configured("prune", "--lost");
    expect(done).toMatchObject({ code: 0, stdout: expect.stringMatching(/^removed 5 transactions /) });
    expect(await withTarget(runs)).toEqual(["1-20", "21-31"]);
    expect((await configured("prune", "--lost")).stdout).toMatch(/^There is nothing to prune/);
    expect(await look()).toMatchObject({ covered: [{ first: 1, last: 33 }] });
    expect((await configured("verify")).code).toBe(0);
  });

  it("prune --through removes the transactions that a verified checkpoint covers, and nodes do not write them again", async () => {
    const { scene, older, newer, configured, withTarget, edn } = await backupCommands(1, 6, 11, 21, 32);
    const refused = await configured("prune", "--through", "8");
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CONFLICT: .*no verified checkpoint/),
    });
    await scene.verify(older);
    expect((await configured("prune", "--through", "12")).stderr).toMatch(/ends with transaction 11\./);
    const done = await configured("prune", "--through", "8");
    expect(done.stdout).toMatch(/^removed everything up to transaction 10 \(2 segments, /);
    expect(done.stdout).toContain(
      "the log still holds these transactions; once it is trimmed, an index as of a transaction up",
    );
    expect(await withTarget(runs)).toEqual(["11-20", "21-31"]);
    // The log was trimmed, and this version has no other checkpoint, so the later segments are needed.
    await withTarget(async ({ log }) => await log.trim?.(31));
    expect((await configured("prune", "--through", "11")).stderr).toMatch(
      /^CONFLICT: The segments to remove end/,
    );
    await scene.verify(newer);
    await ofOtherVersion(scene, older);
    const dry = await configured("prune", "--through", "11", "--dry-run");
    expect(dry.stdout).toMatch(
      /^would remove .* 20 .*\nwithout them, an index as of a transaction up to 20 can be restored only where a checkpoint ends$/m,
    );
    expect((await configured("prune", "--through", "11")).code).toBe(0);
    // As the warning explains, earlier points can no longer be restored, except where a checkpoint ends.
    const restore = (txId: string): Promise<CommandResult> =>
      cairn(
        ["checkpoint", "restore", "-e", edn, "--at-tx", txId, "-o", `at-${txId}`, "--json"],
        new CapturedTerminal({ cwd: scene.folder }),
      );
    expect((await restore("15")).stderr).toContain("CHECKPOINT_NOT_FOUND");
    for (const txId of [21, 25])
      expect(JSON.parse((await restore(`${txId}`)).stdout)).toMatchObject({ txId });
    expect(await withTarget(runs)).toEqual(["21-31"]);
  });

  it("reports a missing backup, a missing choice among several, a missing configuration, and a missing selection for prune", async () => {
    const { scene, store, run, configured } = await backupCommands(1, 32);
    const empty = await run("list", scene.folder);
    expect(empty).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^NOT_FOUND: There is no log backup in/),
    });
    expect((await run("prune", store, "--lost")).stderr).toMatch(/^USAGE: .*needs a configuration/);
    expect((await configured("prune")).stderr).toMatch(
      /^USAGE: The command does not name what to remove\.\n.*--through/,
    );
    await cp(path.join(store, `log-${(await listedLog(scene)) ?? ""}`), path.join(store, "log-other"), {
      recursive: true,
    });
    expect((await run("status", store)).stderr).toMatch(
      /^USAGE: .*several logs, .*other \(transactions 1 to 31\)/,
    );
    expect((await run("verify", store, "--log", "other")).stdout).toContain("it belongs to the log");
    expect((await run("list", store, "--log", "third")).stderr).toMatch(/^NOT_FOUND: .*log third/);
  });
});

async function listedLog({ store }: TrimScene): Promise<string | undefined> {
  return /^log-([^/]+)\//.exec((await store.list("log-"))[0]?.name ?? "")?.[1];
}

async function writeMore(scene: TrimScene, from: number, to: number): Promise<void> {
  const node = await scene.start(`writer-${from}`);
  onTestFinished(() => node.close());
  await node.ready;
  await put(node, from, to);
  await node.close();
}

async function rollBack({ folder }: TrimScene): Promise<void> {
  await rm(path.join(folder, "log"), { recursive: true });
  await cp(path.join(folder, "copy"), path.join(folder, "log"), { recursive: true });
}
