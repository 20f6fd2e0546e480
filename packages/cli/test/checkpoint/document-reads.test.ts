import { join } from "node:path";
import { type CairnNode, startNode } from "@cairn/node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test, vi } from "vitest";

interface Saved {
  readonly dir: string;
  readonly node: CairnNode;
  run(...argv: string[]): Promise<CommandResult>;
}

/** A node with a checkpoint of a thousand documents in the folder `store`. */
async function saved(checkpointer: object = {}): Promise<Saved> {
  const dir = await mkdtemp(join(tmpdir(), "cairn-cli-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const store = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "store" };
  const node = await startNode(
    {
      "cairn/node": { id: "a", dir },
      "cairn/index-store": {
        "kv-store": { checkpointer: { store, "approx-frequency": "PT6H", ...checkpointer } },
      },
      "cairn/http-server": { port: 0 },
      "cairn/policies": { indexes: { pods: ["state"] } },
    },
    { cwd: dir, env: {} },
  );
  onTestFinished(() => node.close());
  await node.ready;
  const client = node.client();
  for (let version = 0; version < 3; version += 1)
    for (let at = 0; at < 1_200; at += 300)
      await client.transact({
        ops: Array.from({ length: 300 }, (_, more) => [
          "put",
          "pods",
          `ns-${more % 2}/pod-${at + more}`,
          { state: more % 3 === 0 ? "running" : "done", version },
        ]),
      });
  await client.delete("pods", "ns-0/pod-0");
  await vi.waitFor(async () => await client.page("pods", { where: "state:running" }));
  await saveCheckpoint(node);
  const env = { CAIRN_URL: node.url ?? "" };
  return { dir, node, run: (...argv) => cairn(argv, new CapturedTerminal({ cwd: dir, env })) };
}

test(
  "get, list and history print from a checkpoint what they print from the node that saved it",
  { tags: "rest/slow" },
  async () => {
    const { run } = await saved();
    const commands = [
      ["get", "pods", "ns-0/pod-2"],
      ["get", "pods", "ns-0/pod-2", "--json"],
      ["get", "pods", "ns-0/pod-2", "--as-of", "4", "--json"],
      ["history", "pods", "ns-0/pod-0", "--json"],
      ["history", "pods", "ns-0/pod-0", "--limit", "2"],
      ["list", "pods", "--all"],
      ["list", "pods", "--json"],
      ["list", "pods", "--json", "--as-of", "7"],
      ["list", "pods", "--limit", "3"],
      ["list", "pods", "--namespace", "ns-1", "--prefix", "pod-11"],
      ["list", "pods", "--from", "ns-0/pod-5", "--to", "ns-1/pod-3", "--json"],
      ["list", "pods", "--where", "state:running", "--json"],
      ["list", "pods", "--order=-state", "--json"],
      ["list", "absent"],
    ];
    for (const command of commands) {
      const expected = await run(...command);
      expect(expected.code).toBe(0);
      expect(await run(...command, "--checkpoint", "store")).toMatchObject({
        code: 0,
        stdout: expected.stdout,
      });
    }
    const refused = [
      ["get", "pods", "ns-0/absent"],
      ["history", "pods", "ns-0/absent"],
      ["list", "pods", "--where", "absent:1"],
      ["list", "Pods"],
      ["get", "pods", "ns-0/pod-2", "--as-of", "never"],
    ];
    for (const command of refused) {
      const { code, stderr } = await run(...command);
      const found = await run(...command, "--checkpoint", "store");
      expect(found.code).toBe(code);
      // After the notice, the code.
      expect(found.stderr).toContain(`${stderr.split(":")[0]}:`);
    }
  },
);

test("a checkpoint is read without its node, and the command says which one and as of when", async () => {
  const { run, node, dir } = await saved();
  await node.close();
  const [name = ""] = (await readdir(join(dir, "store"))).flatMap((file) =>
    file.endsWith(".tar") ? [file.slice(0, -4)] : [],
  );
  for (const place of ["store", `store/${name}`]) {
    const { code, stdout, stderr } = await run("get", "pods", "ns-0/pod-2", "--checkpoint", place);
    expect({ code, stdout: stdout.includes('"version": 2') }).toEqual({ code: 0, stdout: true });
    expect(stderr).toContain(`as of transaction`);
    expect(stderr).toContain(name);
  }
});

test("the hint of an absent document lists the documents of the same checkpoint", async () => {
  const { run, dir } = await saved();
  const { stderr } = await run("get", "pods", "ns-0/absent", "--checkpoint", "store");
  const [, hint = ""] = /hint: .*?cairn (list .*?)\.?$/m.exec(stderr) ?? [];
  const listed = await run(...hint.split(" "), "--limit", "1");
  expect(listed).toMatchObject({ code: 0 });
  expect(listed.stderr).toContain("as of transaction");
  expect(hint).toContain(dir);
});

test("the hint of a compressed checkpoint restores it, and reads what was restored", async () => {
  const { run } = await saved({ compression: "gzip" });
  const { stderr } = await run("get", "pods", "ns-0/pod-2", "--checkpoint", "store");
  expect(stderr).toMatch(
    /can only be read as a whole.*\n *hint: Restore it \(cairn checkpoint restore\), and/,
  );
  expect(stderr).toContain("read what was restored (cairn db get)");
  expect(await run("checkpoint", "restore", "store", "-o", "restored")).toMatchObject({ code: 0 });
  const { stdout } = await run("db", "get", "restored", "pods", "ns-0/pod-2");
  expect(stdout).toBe((await run("get", "pods", "ns-0/pod-2")).stdout);
});

test("the hint of a damaged checkpoint marks it, and an older one is read then", async () => {
  const { run, node, dir } = await saved();
  const older = (await node.checkpoints())[0]?.name ?? "";
  await node.client().put("pods", "ns-0/new", 1);
  const newest = await saveCheckpoint(node);
  const archive = join(dir, "store", `${newest}.tar`);
  const bytes = await readFile(archive);
  // Every part of every file, but not the headers' form.
  for (let at = 1_000; at < bytes.length; at += 512) bytes[at] = (bytes[at] ?? 0) ^ 0x55;
  await writeFile(archive, bytes);
  const command = ["get", "pods", "ns-0/pod-2", "--checkpoint", "store"];
  const { stderr } = await run(...command);
  expect(stderr).toMatch(
    /CHECKPOINT_CORRUPT.*\n *hint: Use an older one\. cairn checkpoint verify marks this one/,
  );
  expect((await run("checkpoint", "verify", "store")).code).not.toBe(0);
  const found = await run(...command);
  expect(found).toMatchObject({ code: 0, stderr: expect.stringContaining(older) as string });
});

test("options that say nothing about what is read are refused", async () => {
  const { run, dir } = await saved();
  const [name = ""] = (await readdir(join(dir, "store"))).flatMap((file) =>
    file.endsWith(".tar") ? [file.slice(0, -4)] : [],
  );
  for (const [options, message] of [
    [["--checkpoint", `store/${name}`, "--log", "other"], "one is already named"],
    [["--checkpoint", ""], "names no place"],
    [["--log", "other"], "are about a checkpoint"],
    [["--key-file", "keys"], "are about a checkpoint"],
  ] as const)
    expect(await run("get", "pods", "a", ...options)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(message) as string,
    });
});

test("a node and a checkpoint cannot both be named", async () => {
  const { run } = await saved();
  expect(await run("get", "pods", "a", "--checkpoint", "store", "--url", "http://127.0.0.1:1")).toMatchObject(
    {
      code: 2,
      stderr: expect.stringContaining("--url names a node, and --checkpoint a checkpoint") as string,
    },
  );
});
