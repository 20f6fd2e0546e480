import { mkdtemp, readdir, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { readEncryption } from "@cairn/checkpoint";
import { encryptionWith, keyFile, newIdentity } from "@cairn/checkpoint/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

let dir = "";

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "cairn-cli-"));
});

afterEach(() => rm(dir, { recursive: true, force: true }));

function run(...argv: string[]): Promise<CommandResult> {
  return cairn(["checkpoint", ...argv], new CapturedTerminal({ cwd: dir }));
}

/** Writes a key file, saves with it, and returns the name of the key file and of the checkpoint. */
async function saveEncrypted(txId: number): Promise<{ key: string; name: string }> {
  const path = await keyFile(dir, [newIdentity()]);
  const [name = ""] = await saveTo(join(dir, "store"), [txId], "log-1", await readEncryption(path));
  return { key: basename(path), name };
}

describe("an encrypted folder", () => {
  test("is listed, shown, verified, restored and pruned with --key-file", async () => {
    const { key, name } = await saveEncrypted(12);
    expect(await run("list", "store", "--key-file", key)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(name),
    });
    const shown = await run("show", "store", "--key-file", key, "--json");
    expect(JSON.parse(shown.stdout)).toMatchObject({ name, format: { archive: "tar+age/1" } });
    const restored = await run("restore", "store", "-o", "restored", "--key-file", key);
    expect(restored).toMatchObject({ code: 0, stdout: expect.stringContaining("all verified") });
    expect(await readdir(join(dir, "restored"))).toContain("STATE");
    const pruned = await run("prune", "store", "--retain-at-least", "1", "--dry-run", "--key-file", key);
    expect(pruned).toMatchObject({ code: 0, stdout: expect.stringContaining(name) });
  });

  test("is not read without the key, even if an older checkpoint is plain", async () => {
    const [older = ""] = await saveTo(join(dir, "store"), [5]);
    const path = await keyFile(dir, [newIdentity()]);
    const keys = await readEncryption(path, { acceptPlain: true });
    const [newer = ""] = await saveTo(join(dir, "store"), [12], "log-1", keys);
    const strange = basename(await keyFile(dir, [newIdentity()]));
    for (const options of [[], ["--key-file", strange, "--accept-plain"]]) {
      const listed = await run("list", "store", ...options);
      expect(listed.stdout).toContain(older);
      expect(listed.stderr).toContain(`${newer} cannot be used, and is passed over: KEY_MISSING`);
      expect(listed.stderr.match(/^hint: .*--key-file/gm)).toHaveLength(1);
      for (const command of [
        ["restore", "store", "-o", "restored"],
        ["show", "store"],
        ["verify", "store"],
      ]) {
        const { code, stderr } = await run(...command, ...options);
        expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining("KEY_MISSING") });
      }
    }
    // An hour after the last write, an unusable checkpoint is no longer being copied.
    const earlier = new Date(Date.now() - 2 * 3_600_000);
    for (const file of [`${newer}.tar`, `${newer}.json`])
      await utimes(join(dir, "store", file), earlier, earlier);
    const pruned = await run("prune", "store", "--damaged");
    expect(pruned.code).toBe(0);
    expect(await readdir(join(dir, "store"))).toContain(`${newer}.tar`);
    expect((await run("list", "store", "--key-file", basename(path))).stderr).toContain("PLAIN_REFUSED");
  });

  test("restores no point that only a checkpoint with another key leads to, and says that", async () => {
    const [old, present] = [newIdentity(), newIdentity()];
    const [name = ""] = await saveTo(join(dir, "store"), [5], "log-1", await encryptionWith(dir, [old]));
    await saveTo(join(dir, "store"), [12], "log-1", await encryptionWith(dir, [present, old]));
    const key = basename(await keyFile(dir, [present]));
    const at = ["--at-tx", "5", "-o", "restored"];
    const { code, stderr } = await run("restore", "store", ...at, "--key-file", key);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(
        `leads to transaction 5\\. ${name} cannot be used \\(KEY_MISSING\\)[^]*\n +hint: .*--key-file`,
      ),
    );
  });

  test("is not reported as empty without the key", async () => {
    await saveEncrypted(12);
    const strange = basename(await keyFile(dir, [newIdentity()]));
    for (const options of [[], ["--key-file", strange]])
      for (const argv of [["list"], ["show"], ["verify"], ["verify", "--log", "log-1"]]) {
        const [command = "", ...more] = argv;
        const { code, stdout, stderr } = await run(command, "store", ...more, ...options);
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
        expect(stderr).toMatch(/^KEY_MISSING: /);
      }
  });

  test("of plain checkpoints says that they are refused, whichever log is asked for", async () => {
    await saveTo(join(dir, "store"), [5]);
    const key = basename(await keyFile(dir, [newIdentity()]));
    for (const more of [[], ["--log", "log-1"]])
      expect((await run("verify", "store", "--key-file", key, ...more)).stderr).toMatch(
        /cannot be used: checkpoint-5-\S+ \(PLAIN_REFUSED\)/,
      );
  });

  test("needs a key file that can be read", async () => {
    await saveEncrypted(12);
    expect(await run("list", "store", "--key-file", "absent")).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("CONFIG_INVALID"),
    });
    expect(await run("list", "store", "--accept-plain")).toMatchObject({ code: 2 });
  });

  test("does not print an identity that is given instead of a key file", async () => {
    await saveEncrypted(12);
    const identity = newIdentity();
    const checkpointer = { "restore-from": [], encryption: { "key-file": "${KEY}" } };
    const config = JSON.stringify({ "cairn/index-store": { "kv-store": { checkpointer } } });
    for (const argv of [
      ["checkpoint", "list", "store", "--key-file", identity],
      ["checkpoint", "verify", "-j", config],
      ...["check", "print"].map((one) => ["config", one, "-j", config]),
      ["config", "print", "--json", "-j", config],
    ]) {
      const terminal = new CapturedTerminal({ cwd: dir, env: { KEY: identity } });
      const { code, stdout, stderr } = await cairn(argv, terminal);
      expect(stdout + stderr).not.toContain(identity.slice(0, 30));
      expect(stdout + stderr).toContain("Write the identity into a file");
      expect(code).toBe(2);
    }
  });
});
