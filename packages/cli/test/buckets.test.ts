import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test, vi } from "vitest";
import { openEmbeddedTxLog } from "@cairn/engine";
import { runNode } from "@cairn/node";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { submit } from "@cairn/test-support/nodes/watch-reader";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

/** Starts a node, and returns a function that runs commands on it. */
async function startedNode() {
  const folder = await mkdtemp(join(tmpdir(), "cairn-buckets-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const openTxLog = async () => await openEmbeddedTxLog({ path: join(folder, "node-1-log") });
  const http = { host: "127.0.0.1", port: 0, maxBody: 1_048_576 };
  const node = await runNode({ ...quietSystem({ folder, nodeId: "node-1", openTxLog }), http });
  onTestFinished(() => node.close());
  await node.ready;
  const env = { CAIRN_URL: node.url };
  const terminal = (options: { stdin?: string; isTTY?: boolean } = {}) =>
    new CapturedTerminal({ env, ...options });
  const run = (argv: readonly string[], options: Parameters<typeof terminal>[0] = {}) =>
    cairn(argv, terminal(options));
  return { node, terminal, run };
}

function puts(prefix: string, count: number) {
  return Array.from({ length: count }, (_, n) => ["put", "pods", `${prefix}${n}`, n] as const);
}

function jsonLines({ stdout }: CommandResult): unknown[] {
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown);
}

test("buckets lists the buckets of a node with their documents and indexed fields", async () => {
  const { node, run } = await startedNode();
  await run(["policy", "apply", "-"], { stdin: JSON.stringify({ indexes: { jobs: ["state"] } }) });
  await submit(
    node,
    ["put", "jobs", "a", { state: "done" }],
    ["put", "jobs", "b", { state: "done" }],
    ["put", "jobs", "c", { state: "open" }],
    ["put", "pods", "a", 1],
  );
  expect(await run(["buckets"])).toMatchObject({
    code: 0,
    stdout:
      "BUCKET  DOCUMENTS  INDEXED FIELDS\njobs            3  state (2 values)\npods            1  none\n",
  });
  expect(jsonLines(await run(["buckets", "--json"]))).toEqual([
    { name: "jobs", documents: 3, fields: { state: { counts: { done: 2, open: 1 }, more: false } } },
    { name: "pods", documents: 1, fields: {} },
  ]);
});

test("tx delete deletes the documents of a namespace and with a prefix, in transactions of a hundred", async () => {
  const { node, run } = await startedNode();
  await submit(node, ...puts("web-", 250), ...puts("db-", 3), ...puts("prod/web-", 120));
  const txId = await submit(node, ["put", "jobs", "web-1", 1]);
  const deleted = await run(["tx", "delete", "pods", "--namespace", "default", "--prefix", "web-"]);
  expect(deleted).toMatchObject({
    code: 0,
    stdout: `deleted 250 documents, last transaction ${txId + 3}\n`,
  });
  expect(jsonLines(await run(["buckets", "--json"]))).toMatchObject([
    { name: "jobs", documents: 1 },
    { name: "pods", documents: 123 },
  ]);
  const json = await run(["tx", "delete", "pods", "--namespace", "prod", "--json"]);
  expect(jsonLines(json)).toEqual([{ documents: 120, lastTxId: txId + 5 }]);
  expect(jsonLines(await run(["tx", "delete", "pods", "--prefix", "web-", "--json"]))).toEqual([
    { documents: 0, lastTxId: null },
  ]);
  expect(jsonLines(await run(["list", "pods", "--json"]))).toHaveLength(3);
});

test("list prints, and tx delete deletes, the documents in a range of keys", async () => {
  const { node, run } = await startedNode();
  await submit(node, ...puts("p", 4), ...puts("a/p", 2), ...puts("e/p", 2));
  const keys = async (...argv: string[]) =>
    (jsonLines(await run(["list", "pods", ...argv, "--json"])) as { namespace: string; name: string }[]).map(
      (one) => `${one.namespace}/${one.name}`,
    );
  expect(await keys("--from", "a/p1", "--to", "p2")).toEqual(["a/p1", "default/p0", "default/p1"]);
  expect(await keys("--namespace", "default", "--from", "p2")).toEqual(["default/p2", "default/p3"]);
  const command = ["tx", "delete", "pods", "--from", "p1", "--to", "e/p1"];
  expect((await run(command, { isTTY: true, stdin: "no\n" })).stderr).toMatch(
    /^Delete all documents of pods from "p1" on before "e\/p1"\? Write yes/,
  );
  expect((await run(command)).stdout).toMatch(/^deleted 4 documents,/);
  expect(await keys()).toEqual(["a/p0", "a/p1", "default/p0", "e/p1"]);
});

test("tx delete of several documents that is interrupted is continued by the same command", async () => {
  const { node, terminal, run } = await startedNode();
  await submit(node, ...puts("p", 2_000));
  const deleting = terminal();
  const stopped = cairn(["tx", "delete", "pods", "--prefix", "p"], deleting);
  await vi.waitFor(async () => expect((await node.buckets({})).buckets[0]?.documents).toBeLessThan(2_000), {
    interval: 1,
  });
  deleting.signal("SIGINT");
  const { code, stderr } = await stopped;
  expect(code).toBe(130);
  const [, before = ""] = /^INTERRUPTED: Interrupted; ([\d,]+) documents were deleted/.exec(stderr) ?? [];
  const count = Number(before.replace(",", ""));
  expect(count).toBeLessThan(2_000);
  const again = jsonLines(await run(["tx", "delete", "pods", "--prefix", "p", "--json"]));
  expect(again).toMatchObject([{ documents: 2_000 - count }]);
});

test("tx delete of several documents asks on a terminal, unless --yes is given", async () => {
  const { node, run } = await startedNode();
  await submit(node, ["put", "pods", "a", 1], ["put", "pods", "b", 2]);
  const command = ["tx", "delete", "pods", "--namespace", "default"];
  for (const stdin of ["", "no\n", "y"]) {
    const { code, stderr } = await run(command, { isTTY: true, stdin });
    expect([code, stderr]).toEqual([
      0,
      'Delete all documents of pods in the namespace "default"? Write yes to delete them:\nNothing was deleted.\n',
    ]);
  }
  expect(jsonLines(await run(["list", "pods", "--json"]))).toHaveLength(2);
  expect((await run([...command, "--prefix", "a"], { isTTY: true, stdin: "yes\n" })).stdout).toMatch(
    /^deleted 1 document,/,
  );
  expect((await run([...command, "--yes"], { isTTY: true })).stdout).toMatch(/^deleted 1 document,/);
});

test.each([
  ["list", "db-1", "--prefix default/db-1"],
  ["list", "db-1", "--prefix default/db-1 --json"],
  ["list", "1", "--namespace it's --prefix it's/"],
  ["tx delete", "db-1", "--prefix default/db-1"],
])(
  "%s of a prefix of keys finds nothing, and names the options that find %s (%s)",
  async (command, name, given) => {
    const { node, run } = await startedNode();
    await submit(node, ["put", "pods", "db-1", 1], ["put", "pods", "it's/1", 1], ["put", "pods", "a/b/c", 1]);
    const words = command.split(" ");
    const { code, stderr } = await run([...words, "pods", ...given.split(" ")]);
    const [, options = ""] =
      /^notice: a prefix is of names, without the namespace: (--namespace .*) selects/m.exec(stderr) ?? [];
    expect([code, jsonLines(await run(["list", "pods", "--json"])).length]).toEqual([0, 3]);
    const { stdout } = await promisify(execFile)("sh", ["-c", `printf '%s\\n' ${options}`]);
    const suggested = await run([...words, "pods", ...stdout.trimEnd().split("\n")]);
    expect(suggested.stdout).toMatch(command === "list" ? new RegExp(`/${name} `) : /^deleted 1 document,/);
  },
);

test.each(["b", "b/x", "/b"])(
  "list of the prefix %s finds nothing, and there is nothing to suggest",
  async (prefix) => {
    const { node, run } = await startedNode();
    await submit(node, ["put", "pods", "a/b/c", 1]);
    const namespace = prefix.startsWith("b/") ? ["--namespace", "a"] : [];
    const { stderr } = await run(["list", "pods", ...namespace, "--prefix", `${prefix}x`]);
    expect(stderr).toBe("None found.\n");
    expect((await run(["list", "pods", "--prefix", "b/c"])).stdout).toContain("a/b/c");
  },
);

test.each([
  [[]],
  [["a", "--prefix", "a"]],
  [["--prefix", "a", "--if-revision", "1"]],
  [["--prefix", ""]],
  [["--from", "a", "--to", ""]],
  [["a", "--from", "a"]],
  [["--prefix", "a", "--namespace", ""]],
])("tx delete pods %j is refused, and nothing is deleted", async (argv) => {
  const { node, run } = await startedNode();
  await submit(node, ["put", "pods", "a", 1]);
  expect(await run(["tx", "delete", "pods", ...argv])).toMatchObject({ code: 2, stderr: /^USAGE: / });
  expect(jsonLines(await run(["list", "pods", "--json"]))).toHaveLength(1);
});

test("bash completes the names of the buckets, as the first argument and as the value of an option", async () => {
  const { node, run } = await startedNode();
  await submit(node, ["put", "jobs", "a", 1], ["put", "pods", "a", 1], ["put", "pod-limits", "a", 1]);
  const { stdout: listed } = await run(["buckets", "--json"]);
  const { stdout: script } = await run(["completion", "bash"]);
  const complete = 'ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cairn; echo "${COMPREPLY[*]}"; }';
  const answer = `cairn() { [ "$*" = "buckets --json" ] && printf %s "$LISTED"; }`;
  const asks = [
    "ask cairn list ''",
    "ask cairn tx put pod",
    "ask cairn events --bucket jo",
    "ask cairn get pods po",
    "ask cairn list --al",
  ];
  const { stdout } = await promisify(execFile)(
    "bash",
    ["--norc", "-c", [script, complete, answer, ...asks].join("\n")],
    { env: { ...process.env, LISTED: listed } },
  );
  expect(stdout).toBe("jobs pod-limits pods\npod-limits pods\njobs\n\n--all\n");
});
