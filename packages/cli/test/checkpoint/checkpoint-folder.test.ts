import { chown, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { constants, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { filesystemStore, type Manifest, markDamaged } from "@cairn/checkpoint";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sealedManifest } from "@cairn/test-support/stores/sealed-manifest";
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

/** Saves a checkpoint of each transaction into the folder `store`. Returns the names, oldest first. */
function saveCheckpoints(...txIds: number[]): Promise<string[]> {
  return saveTo(join(dir, "store"), txIds);
}

/** Changes one byte in the middle of a checkpoint's archive. */
async function damage(name: string): Promise<void> {
  const archive = join(dir, "store", `${name}.tar`);
  const bytes = await readFile(archive);
  bytes[512 + 3] = (bytes[512 + 3] ?? 0) ^ 1;
  await writeFile(archive, bytes);
}

async function changeManifest(name: string, change: (manifest: Manifest) => Manifest): Promise<void> {
  const file = join(dir, "store", `${name}.json`);
  await writeFile(file, sealedManifest(change(JSON.parse(await readFile(file, "utf8")) as Manifest)));
}

describe("checkpoints in a folder", () => {
  test("are listed newest first, even in JSON", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    const { code, stdout } = await run("list", "store");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^NAME +TX +DOCUMENTS +SIZE +TAKEN +NODE\n/);
    expect(stdout.indexOf(newer)).toBeLessThan(stdout.indexOf(older));
    const json = (await run("list", "store", "--json")).stdout.trim().split("\n");
    expect(json.map((line) => JSON.parse(line) as object)).toMatchObject([
      { name: newer, txId: 12, logId: "log-1" },
      { name: older, txId: 5 },
    ]);
  });

  test("cannot send control characters to the terminal through their manifests", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    const evil = "a\u001B[2J\u0007";
    await changeManifest(newer, (manifest) => ({ ...manifest, node: evil }));
    await changeManifest(older, (manifest) => ({
      ...manifest,
      format: { ...manifest.format, archive: evil },
    }));
    const outputs = [
      await run("list", "store"),
      await run("show", join("store", newer)),
      await run("verify", join("store", older), "--no-mark"),
      await run("restore", join("store", older), "-o", "restored"),
    ];
    const text = outputs.map(({ stdout, stderr }) => stdout + stderr).join("");
    expect(text).not.toMatch(/[^\P{Cc}\n]/u);
    expect(text).toContain("a\\u001b[2J\\u0007");
  });

  test("that are unusable are reported together with the usable ones", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    await rm(join(dir, "store", `${newer}.tar`));
    await copyFile(join(dir, "store", `${older}.json`), join(dir, "store", "notes.txt"));
    const { code, stdout, stderr } = await run("list", "store");
    expect(code).toBe(0);
    expect(stdout).toContain(older);
    expect(stdout).not.toContain(newer);
    expect(stderr).toContain(`${newer} cannot be used, and is passed over: CHECKPOINT_INCOMPLETE`);
  });

  test("are shown: either the newest in the folder, or the one whose file is named", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    expect((await run("show", "./store")).stdout).toContain(newer);
    for (const ending of ["", ".json", ".tar"]) {
      expect((await run("show", `store/${older}${ending}`)).stdout).toMatch(new RegExp(`Name +${older}\n`));
    }
    expect(JSON.parse((await run("show", `store/${older}`, "--json")).stdout)).toMatchObject({ txId: 5 });
  });

  test.each([
    ["show", "store/checkpoint-7-2026-11-20T06-00-00.000Z-1f3a9c0e"],
    ["restore", "store", "--name", "checkpoint-7-2026-11-20T06-00-00.000Z-1f3a9c0e", "-o", "out"],
  ])("that do not exist are reported as CHECKPOINT_NOT_FOUND: %s", async (...argv) => {
    await saveCheckpoints(5);
    const { code, stderr } = await run(...argv);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^CHECKPOINT_NOT_FOUND: There is no checkpoint checkpoint-7-/);
  });

  test("that cannot be used are explained by the command that was to use them, whose hints run as they are printed", async () => {
    const [name = ""] = await saveCheckpoints(5);
    const wrong = await run("verify", join("store", name.replace(/.{8}$/, "00000000")));
    const [, listing = ""] = /Choose one that cairn checkpoint (list \S+) prints/.exec(wrong.stderr) ?? [];
    expect((await run(...listing.split(" "))).stdout).toContain(name);
    await rm(join(dir, "store", `${name}.tar`));
    const { code, stderr } = await run("verify", "store");
    expect(code).toBe(1);
    expect(stderr).toMatch(
      new RegExp(`hint: These checkpoints cannot be used: ${name} \\(CHECKPOINT_INCOMPLETE\\)\\. .*${name}`),
    );
    expect(stderr).not.toContain("checkpoint verify");
    await rm(join(dir, "store", `${name}.json`));
    expect((await run("verify", "store")).stderr).toContain(
      "Save one on a ready node (cairn checkpoint create)",
    );
  });

  test("result in an error, not an empty list, if the folder does not exist", async () => {
    for (const argv of [
      ["list", "nowhere"],
      ["show", "./nowhere"],
      ["restore", "nowhere", "-o", "out"],
    ]) {
      expect(await run(...argv)).toMatchObject({ code: 1, stderr: expect.stringMatching(/^NOT_FOUND: /) });
    }
  });
});

describe("checkpoint restore", () => {
  test("writes the files of the newest or the named one, and nothing else", async () => {
    const [older = ""] = await saveCheckpoints(5, 12);
    const { code, stdout } = await run("restore", "store", "-o", "newest");
    expect([code, stdout]).toEqual([
      0,
      expect.stringMatching(
        /^restored .*transaction 12.* to newest: \d files, [\d.]+ (B|KiB), all verified\n$/,
      ),
    ]);
    expect(await readFile(join(dir, "newest", "STATE"), "utf8")).toBe("state 12\n");
    await run("restore", "store", "--name", older, "-o", "nested/older");
    await run("restore", `store/${older}.tar`, "-o", "same", "--json");
    for (const target of ["nested/older", "same"]) {
      expect(await readFile(join(dir, target, "STATE"), "utf8")).toBe("state 5\n");
    }
    expect((await readdir(dir)).filter((name) => name.startsWith("."))).toEqual([]);
    expect(await readdir(join(dir, "nested"))).toEqual(["older"]);
  });

  test("skips a damaged newest checkpoint, and reports it", async () => {
    const [, newer = ""] = await saveCheckpoints(5, 12);
    await damage(newer);
    const { code, stderr } = await run("restore", "store", "-o", "out");
    expect(code).toBe(0);
    expect(stderr).toContain(`${newer} cannot be used, and is passed over: CHECKPOINT_CORRUPT`);
    expect(await readFile(join(dir, "out", "STATE"), "utf8")).toBe("state 5\n");
  });

  test("passes over a checkpoint that is marked as damaged unless no other one can be restored", async () => {
    const [older = "", newer = ""] = await saveCheckpoints(5, 12);
    await markDamaged(filesystemStore({ path: join(dir, "store") }), [newer], "n");
    const { code, stderr } = await run("restore", "store", "-o", "out");
    expect(code).toBe(0);
    expect(stderr).toContain(
      `${newer} cannot be used, and is passed over: CHECKPOINT_CORRUPT: ${newer} is marked as damaged.`,
    );
    expect(await readFile(join(dir, "out", "STATE"), "utf8")).toBe("state 5\n");
    for (const name of await readdir(join(dir, "store")))
      if (name.startsWith(older)) await rm(join(dir, "store", name));
    expect((await run("restore", "store", "-o", "last")).code).toBe(0);
    expect(await readFile(join(dir, "last", "STATE"), "utf8")).toBe("state 12\n");
  });

  test("of a damaged checkpoint requested by name restores nothing", async () => {
    const [name = ""] = await saveCheckpoints(5);
    await damage(name);
    const { code, stderr } = await run("restore", "store", "--name", name, "-o", "out");
    expect([code, stderr]).toEqual([1, expect.stringContaining("CHECKPOINT_CORRUPT")]);
    expect((await readdir(dir)).toSorted()).toEqual(["store"]);
  });

  test("does not replace a mount point", async () => {
    await saveCheckpoints(5);
    const { code, stderr } = await run("restore", "store", "-o", "/");
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^CONFIG_INVALID: .*mount point/)]);
  });

  test("never writes into a directory that is not empty", async () => {
    await saveCheckpoints(5);
    await mkdir(join(dir, "out"));
    await writeFile(join(dir, "out", "mine"), "precious");
    const { code, stderr } = await run("restore", "store", "-o", "out");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^CONFLICT: /)]);
    expect(await readdir(join(dir, "out"))).toEqual(["mine"]);
  });

  test("of a folder with checkpoints of several logs is refused until one is named", async () => {
    await saveCheckpoints(5);
    await saveTo(join(dir, "store"), [50], "log-2");
    const { code, stderr } = await run("restore", "store", "-o", "out");
    expect([code, stderr]).toEqual([2, expect.stringContaining("log-1 (cairn), log-2 (cairn)")]);
    await run("restore", "store", "--log", "log-1", "-o", "out");
    expect(await readFile(join(dir, "out", "STATE"), "utf8")).toBe("state 5\n");
    expect(await run("restore", "store", "--log", "log-3", "-o", "other")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^CHECKPOINT_NOT_FOUND: .*log-3/),
    });
  });
});

/** A terminal that sends a signal as soon as a command listens for it. */
class EndedTerminal extends CapturedTerminal {
  readonly #signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super({ cwd: dir });
    this.#signal = signal;
  }

  override onSignal(...[signals, listener]: Parameters<CapturedTerminal["onSignal"]>): () => void {
    const undo = super.onSignal(signals, listener);
    this.signal(this.#signal);
    return undo;
  }
}

describe.each([
  ["restore", ["restore", "store", "-o", "out"]],
  ["verify", ["verify", "./store", "--staging", "."]],
])("checkpoint %s", (_name, argv) => {
  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("ended by %s leaves no copy behind", async (signal) => {
    await saveCheckpoints(5);
    const { code, stderr } = await cairn(["checkpoint", ...argv], new EndedTerminal(signal));
    expect([code, stderr]).toEqual([
      128 + constants.signals[signal],
      expect.stringMatching(/^INTERRUPTED: Interrupted/),
    ]);
    expect(await readdir(dir)).toEqual(["store"]);
  });
});

test.each([
  ["nowhere", /^CONFIG_INVALID: The folder for temporary files .*nowhere does not exist\.\n.*--staging/],
  ["file", /^CONFIG_INVALID: The folder .*file cannot be used: a part of its path is a file/],
])("a staging folder that is %s is refused with a hint", async (staging, refusal) => {
  await saveCheckpoints(5);
  await writeFile(join(dir, "file"), "");
  const { code, stderr } = await run("verify", "./store", "--staging", staging);
  expect([code, stderr]).toEqual([2, expect.stringMatching(refusal)]);
});

test("a path below a file is refused like an occupied path", async () => {
  await saveCheckpoints(5);
  await writeFile(join(dir, "file"), "");
  const { code, stderr } = await run("restore", "store", "-o", "file/out");
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^CONFLICT: /)]);
});

test("checkpoints of several logs are listed with their log, and none is shown until one is named", async () => {
  await saveCheckpoints(5);
  expect((await run("list", "store")).stdout).not.toContain("LOG");
  await saveTo(join(dir, "store"), [50], "log-2");
  const { stdout } = await run("list", "store");
  expect(stdout).toMatch(/^NAME .* LOG\n.* log-2\n.* log-1\n$/);
  const { code, stderr } = await run("show", "store");
  expect([code, stderr]).toEqual([2, expect.stringContaining("log-1 (cairn), log-2 (cairn)")]);
  expect((await run("show", "store", "--log", "log-1")).stdout).toMatch(/^Log +cairn \(id log-1\)$/m);
  expect((await run("show", "store", "--log", "log-2", "--json")).stdout).toContain('"txId":50');
});

describe("the copies that a killed command left in its folder for them", () => {
  test.each([
    ["verify", ["checkpoint", "verify", "store"]],
    ["db", ["db", "stats", "store"]],
  ])("are removed by the next %s, but not those of others", async (purpose, command) => {
    await saveCheckpoints(1);
    const staging = join(dir, "staging");
    const [killed = "", ...others] = [
      `${hostname()}-2147483646`,
      `${hostname()}-${process.ppid}`,
      "another-machine-2147483646",
      `${hostname()}-2147483645`,
    ].map((owner) => `.cairn-${purpose}-${owner}-0a0a0a0a`);
    for (const one of [killed, ...others]) await mkdir(join(staging, one, "restore-1"), { recursive: true });
    // Only root can give a folder away.
    const isRoot = process.getuid?.() === 0;
    if (isRoot) await chown(join(staging, others.at(-1) ?? ""), 65_534, 65_534);
    const terminal = new CapturedTerminal({ cwd: dir });
    const { stderr } = await cairn([...command, "--staging", staging], terminal);
    expect(stderr).not.toMatch(/CONFIG_INVALID|USAGE/);
    expect((await readdir(staging)).toSorted()).toEqual(others.slice(0, isRoot ? 3 : 2).toSorted());
  });
});
