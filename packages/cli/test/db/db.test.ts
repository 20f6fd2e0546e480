import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import path from "node:path";
import { type KvOperation, levelProvider } from "@cairn/kv";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { counterRowKey, documentRowKey } from "@cairn/engine/src/index/rows/row-keys";
import { type CairnNode } from "@cairn/engine";
import { STATE_ROW_KEY } from "@cairn/engine/src/index/rows/row-keys";
import { encodeCounters } from "@cairn/engine/src/index/rows/row-values";
import { encodeVersion } from "@cairn/engine/src/index/rows/version-values";
import { startNode } from "@cairn/node";
import { savingConfig } from "@cairn/test-support/stores/saving-config";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
let node: CairnNode | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-db-test-"));
  node = await startNode(savingConfig(folder, "n", null));
  await node.ready;
  for (const ops of [
    [
      ["put", "pods", "web", { n: 1 }],
      ["put", "pods", "team/db", { n: 1 }],
    ],
    [
      ["put", "pods", "web", { n: 2 }],
      ["delete", "pods", "team/db"],
    ],
  ] as const) {
    const { txId } = await node.submit({ ops });
    await node.await(txId);
  }
  await saveCheckpoint(node);
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

function db(...argv: string[]): Promise<CommandResult> {
  return cairn(["db", ...argv], new CapturedTerminal({ cwd: folder }));
}

/** Restores the node's checkpoint, and changes these rows in it. Returns the folder's name. */
async function tampered(operations: readonly KvOperation[]): Promise<string> {
  const place = await mkdtemp(path.join(folder, "tampered-"));
  onTestFinished(() => rm(place, { recursive: true, force: true }));
  await rm(place, { recursive: true });
  await cairn(["checkpoint", "restore", "checkpoints", "-o", place], new CapturedTerminal({ cwd: folder }));
  const kv = await levelProvider().open(place);
  await kv.batch(operations);
  await kv.close();
  return path.basename(place);
}

const web = documentRowKey("pods", "default/web");
const team = documentRowKey("pods", "team/db");
const counters = counterRowKey("pods");
const put = (key: Uint8Array, value: Uint8Array): KvOperation => ({ type: "put", key, value });
const json = (text: string): Buffer => Buffer.from(text);

describe("cairn db check", () => {
  it.each([
    [
      "a document that is not JSON",
      put(web, encodeVersion(web, 3, 0, json("{"))),
      "document pods/default/web: its document is not JSON",
    ],
    [
      "a truncated document",
      put(web, json("{}")),
      "document pods/default/web: its checksum does not match its key and value",
    ],
    [
      "a revision that the index has not reached",
      put(web, encodeVersion(web, 9, 0, json("1"))),
      "its revision 9 is outside transactions 1 to 3",
    ],
    [
      "a document under another key",
      put(web, encodeVersion(team, 3, 0, json("1"))),
      "document pods/default/web: its checksum does not match its key and value",
    ],
    [
      "a document of a deleted key",
      put(team, encodeVersion(team, 3, 0, json("1"))),
      "tombstone pods/team/db: its key has a document as well",
    ],
    [
      "counters that are wrong",
      put(counters, encodeCounters(counters, { documents: 7, tombstones: 1, floor: 0, gone: 0 })),
      "counter pods: it counts 7 documents and 1 deleted keys, but there are 1 and 1",
    ],
    [
      "counters that are missing",
      { type: "del", key: counters },
      "counter pods: the bucket has documents or tombstones, but no counters",
    ],
    [
      "a row of an unknown kind",
      put(Buffer.from("\u0001x"), json("")),
      "its kind is unknown to this version",
    ],
    ["a truncated key", put(Buffer.from("cpods\0web"), json("")), "its key is truncated"],
    [
      "a state that cannot be read",
      put(STATE_ROW_KEY, json("{}")),
      "its state row does not match its checksum",
    ],
  ] satisfies [string, KvOperation, string][])(
    "finds %s, and reports where",
    async (_, operation, problem) => {
      const place = await tampered([operation]);
      const { code, stdout, stderr } = await db("check", place);
      expect([code, stdout]).toEqual([1, expect.stringContaining(problem)]);
      expect(stderr).toMatch(/^INDEX_CORRUPT: tampered-\S+ has \d problems?\./);
    },
  );

  it("prints only the requested number of problems, but counts all", async () => {
    const unknown = Array.from({ length: 5 }, (_, n) => put(Buffer.from(`\u0001${n}`), json("")));
    const { stdout, stderr } = await db("check", await tampered(unknown), "--limit", "2", "--json");
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(lines).toHaveLength(3);
    expect(lines[2]).toEqual({ ok: false, problems: 5 });
    expect(stderr).toContain("has 5 problems");
  });

  it("reports each damaged table once, and other commands the first one", async () => {
    const place = await tampered([put(team, json(""))]);
    // The second table is written when the database is opened.
    await (await levelProvider().open(path.join(folder, place))).close();
    const tables = (await readdir(path.join(folder, place))).filter((name) => name.endsWith(".ldb"));
    expect(tables).toHaveLength(2);
    for (const table of tables) {
      const content = await readFile(path.join(folder, place, table));
      content.writeUInt8(content.readUInt8(20) ^ 1, 20);
      await writeFile(path.join(folder, place, table), content);
    }
    const { code, stdout, stderr } = await db("check", place);
    const lines = tables.map((table) => `table ${table}: a checksum does not match`);
    expect([code, stdout.trimEnd().split("\n").toSorted()]).toEqual([1, lines.toSorted()]);
    expect(stderr).toContain("has 2 problems");
    const refused = await db("get", place, "pods", "web");
    expect(refused.stderr).toMatch(
      /^INDEX_CORRUPT: .* is damaged: table \d+\.ldb: a checksum does not match\./,
    );
    const readable = await db("get", place, "pods", "web", "--no-checksums");
    expect(readable.stderr).toMatch(/^notice: .*what damage hides is missing\.\n/);
  });

  it("reports the missing table of an index that no node has open", async () => {
    const place = await tampered([]);
    const [table = ""] = (await readdir(path.join(folder, place))).filter((name) => name.endsWith(".ldb"));
    await rm(path.join(folder, place, table));
    const { code, stderr } = await db("check", place);
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^INDEX_CORRUPT: .* lacks the table \d+\.ldb/)]);
  });

  it("detects that a checkpoint's archive was changed", async () => {
    await cp(path.join(folder, "checkpoints"), path.join(folder, "changed"), { recursive: true });
    const [archive = ""] = (await readdir(path.join(folder, "changed"))).filter((name) =>
      name.endsWith(".tar"),
    );
    const content = await readFile(path.join(folder, "changed", archive));
    // Changes a byte after the first file's header of 512 bytes.
    content.writeUInt8(content.readUInt8(520) ^ 1, 520);
    await writeFile(path.join(folder, "changed", archive), content);
    const { code, stderr } = await db("check", "changed");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^CHECKPOINT_CORRUPT: /)]);
  });
});

describe("a place", () => {
  it("is read as it was when the command began, while the node continues", async () => {
    const before = await db("digest", "n-index");
    const written = await node?.submit({ ops: [["put", "later", "x", 1]] });
    await node?.await(written?.txId ?? 0);
    const after = await db("digest", "n-index");
    expect(JSON.parse(after.stdout)).toEqual(await node?.digest());
    const { txId } = JSON.parse(before.stdout) as { txId: number };
    expect((await db("digest", "n-index", "--at-tx", String(txId))).stdout).toBe(before.stdout);
    expect((await db("digest", "checkpoints")).stdout).toBe(
      (await db("digest", "n-index", "--at-tx", "3")).stdout,
    );
  });

  it("leaves nothing behind, wherever the copy is created", async () => {
    const staging = path.join(folder, "staging-of-mine");
    await mkdir(staging);
    await db("check", "n-index", "--staging", staging);
    await db("check", "checkpoints", "--staging", staging);
    await db("get", "n-index", "pods", "nothing", "--staging", staging);
    expect(await readdir(staging)).toEqual([]);
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      const terminal = new CapturedTerminal({ cwd: folder });
      const onSignal = terminal.onSignal.bind(terminal);
      // The signal is sent as soon as the command listens, so that it arrives in the middle of the command's work.
      terminal.onSignal = (signals, listener) => {
        const forget = onSignal(signals, listener);
        terminal.signal(signal);
        return forget;
      };
      const ended = await cairn(["db", "check", "checkpoints", "--staging", staging], terminal);
      expect(ended.code).toBe(128 + constants.signals[signal]);
      expect(ended.stderr).toContain("INTERRUPTED: Interrupted");
      expect(await readdir(staging)).toEqual([]);
    }
    const missing = await db("check", "n-index", "--staging", path.join(folder, "nowhere"));
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain("CONFIG_INVALID: The folder for temporary files");
  });

  it.each([
    ["nowhere", "NOT_FOUND: There is neither an index nor a checkpoint in"],
    [".", "NODE-index in a node's folder"],
    ["empty", "NOT_FOUND: There is neither an index nor a checkpoint in"],
    ["joining", "cairn status shows whether it has an index yet"],
    ["beheaded", "INDEX_CORRUPT: The database in"],
    ["checkpoints/checkpoint-7-2026-11-20T06-00-00.000Z-1f3a9c0e", "CHECKPOINT_NOT_FOUND"],
  ])("that is neither an index nor a checkpoint is rejected with the reason: %s", async (place, message) => {
    await mkdir(path.join(folder, "empty"), { recursive: true });
    await mkdir(path.join(folder, "joining", "lock"), { recursive: true });
    await mkdir(path.join(folder, "beheaded"), { recursive: true });
    await writeFile(path.join(folder, "beheaded", "MANIFEST-000004"), "");
    const { code, stdout, stderr } = await db("keys", place);
    expect([code, stdout, stderr]).toEqual([1, "", expect.stringContaining(message)]);
  });

  it("without any matching key is reported as such, and nothing else is printed", async () => {
    const none = [
      ["--prefix", "x"],
      ["--namespace", "y"],
      ["--from", "z/"],
      ["--to", "a/"],
    ];
    for (const argv of [["nothing"], ...none.map((given) => ["pods", ...given])]) {
      const { code, stdout, stderr } = await db("keys", "n-index", ...argv);
      expect([code, stdout, stderr]).toEqual([0, "", expect.stringMatching(/^None found\. /)]);
      expect((await db("keys", "n-index", ...argv, "--json")).stderr).toBe("");
    }
    const keys = ["keys", "n-index", "pods", "--prefix", "default/"];
    expect((await db(...keys)).stderr).toMatch(
      /^notice: a prefix is of names.*: --namespace default selects/m,
    );
    const { stdout, stderr } = await db("keys", "n-index");
    expect([stdout.split("\n").length > 1, stderr]).toEqual([true, ""]);
  });

  it("is listed from a key to another one, in a bucket", async () => {
    const keys = ["keys", "n-index"];
    expect((await db(...keys, "pods", "--from", "web", "--to", "web0")).stdout).toBe("default/web\n");
    expect((await db(...keys, "pods", "--namespace", "default", "--from", "web0")).stdout).toBe("");
    expect((await db(...keys, "pods", "--to", "web")).stdout).toBe("");
    for (const option of ["--namespace", "--from", "--to"])
      expect(await db(...keys, option, "web")).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(`${option} requires a bucket.`),
      });
    expect(await db(...keys, "--raw", "--from", "web")).toMatchObject({ code: 2 });
  });

  it("that has checkpoints of several logs needs --log", async () => {
    await saveTo(path.join(folder, "mixed"), [1, 2], "log-1");
    await saveTo(path.join(folder, "mixed"), [1], "log-2");
    const { code, stderr } = await db("check", "mixed");
    expect([code, stderr]).toEqual([2, expect.stringContaining("Choose one of them with --log ID")]);
  });

  it.each(["missing", "empty"])("of a node whose write-ahead log is %s is damaged", async (how) => {
    await cp(path.join(folder, "n-index"), path.join(folder, how), { recursive: true });
    const live = path.join(folder, how, "live");
    for (const name of (await readdir(live)).filter((file) => file.endsWith(".log")))
      if (how === "empty") await writeFile(path.join(live, name), "");
      else await rm(path.join(live, name));
    const { code, stdout, stderr } = await db("check", how);
    expect([code, stdout]).toEqual([1, expect.stringContaining("write-ahead log is missing or empty")]);
    expect(stderr).toMatch(/^INDEX_CORRUPT: .* has 1 problem\.\n.* Restart the node of this index/);
  });

  it("that is another program's LevelDB is reported as such, and can be listed with --raw", async () => {
    const kv = await levelProvider().open(path.join(folder, "foreign"));
    await kv.batch([put(Buffer.from("cats"), json("two")), put(Buffer.from([0xff, 0x01]), json("x"))]);
    await kv.close();
    const refused = await db("buckets", "foreign");
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("not a Cairn index")]);
    expect((await db("check", "foreign")).stdout).toContain("a LevelDB of 2 rows, but not a Cairn index");
    expect((await db("keys", "foreign", "--raw")).stdout.split("\n")).toHaveLength(3);
  });
});

describe("cairn db get and history", () => {
  it("print the same documents as the node returns, for the present and the past", async () => {
    expect(JSON.parse((await db("get", "n-index", "pods", "web", "--json")).stdout)).toEqual({
      bucket: "pods",
      namespace: "default",
      name: "web",
      revision: 3,
      document: { n: 2 },
    });
    expect(JSON.parse((await db("get", "checkpoints", "pods", "web", "--as-of", "2")).stdout)).toEqual({
      n: 1,
    });
    const history = await db("history", "n-index", "pods", "team/db", "--json");
    const versions = history.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(versions).toMatchObject([
      { revision: 3, deleted: true },
      { revision: 2, deleted: false, document: { n: 1 } },
    ]);
  });

  it("distinguish an absent key from an invalid one", async () => {
    expect(await db("get", "n-index", "pods", "team/db")).toMatchObject({ code: 1, stdout: "" });
    expect(await db("history", "n-index", "pods", "nothing")).toMatchObject({ code: 1, stdout: "" });
    expect((await db("get", "n-index", "Pods", "web")).stderr).toContain("REQUEST_INVALID");
    expect((await db("get", "n-index", "pods", "web", "--as-of", "soon")).code).toBe(2);
  });
});

it.each([
  ["get n-index pods nothing", "cairn db keys n-index pods"],
  ["keys n-index nothing", "cairn db buckets n-index"],
])("the hint of cairn db %s names the place that was given, for any folder", async (argv, hinted) => {
  const command = hinted.replace("n-index", path.join(folder, "n-index"));
  expect((await db(...argv.split(" "))).stderr).toContain(command);
  const [, ...words] = command.split(" ");
  expect(await cairn(words, new CapturedTerminal({ cwd: "/" }))).toMatchObject({ code: 0, stderr: "" });
});
