import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { CairnNode } from "@cairn/engine";
import { notReady } from "@cairn/engine/src/api/not-ready";
import { startNode } from "@cairn/node";
import { compacted } from "@cairn/engine/src/index/read/watch-compacted";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { madePosition } from "@cairn/test-support/nodes/positions";

const TOKEN = "let-me-in";

let folder = "";
let node: CairnNode | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-hints-"));
  node = await startNode({
    "cairn/node": { id: "n", dir: folder },
    "cairn/http-server": { port: 0, "auth-token": TOKEN },
  });
  await node.ready;
  await node.await((await node.submit({ ops: [["configure", { events: { keep: 10 } }]] })).txId);
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

function run(argv: readonly string[], token = TOKEN, stdin = ""): Promise<CommandResult> {
  const env = { CAIRN_URL: node?.url ?? "", CAIRN_AUTH_TOKEN: token };
  return cairn(argv, new CapturedTerminal({ env, stdin }));
}

/** Expects the hint to name these commands, and each to exist with the options after it. */
async function expectCommands(hint: string, wanted: readonly string[]): Promise<void> {
  for (const command of wanted) {
    expect(hint).toContain(`cairn ${command}`);
    const [words = "", option = ""] = command.split(/ (?=--)/);
    const { code, stdout } = await run([...words.split(" "), "--help"]);
    expect([code, stdout]).toEqual([0, expect.stringContaining(option.split(" ")[0] ?? "")]);
  }
}

it.each<[argv: string[], code: number, wanted: string[], stdin?: string]>([
  [["get", "pods", "nothing"], 1, ["list pods"]],
  [["history", "pods", "nothing"], 1, ["list pods"]],
  [["policy", "apply", "-", "--if-revision", "99"], 1, ["policy show"], '{"events": {"keep": 11}}'],
  [["events", "--before", "yesterday"], 2, ["events"]],
  [["list", "pods", "--where", "a:1"], 2, ["policy apply"]],
  [["list", "pods", "--order", "-a"], 2, ["policy apply"]],
])("the hint of cairn %j names a command that helps", async (argv, code, wanted, stdin) => {
  const { code: ended, stderr } = await run(argv, TOKEN, stdin);
  expect([ended, stderr]).toEqual([code, expect.stringMatching(/\n {2}hint: /)]);
  await expectCommands(stderr.split("hint: ")[1] ?? "", wanted);
});

it("the errors for a missing transaction, a node that is not ready and a pruned history also have hints that name commands", async () => {
  const late = await node?.await(99, { timeoutMs: 1 }).catch((error: unknown) => error);
  await expectCommands(String((late as { hint?: string }).hint), ["status"]);
  const restoring = notReady({ phase: "restoring", failure: undefined, index: undefined });
  await expectCommands(restoring.hint ?? "", ["status --wait PT30S"]);
  await expectCommands(compacted(3, madePosition(17)).hint ?? "", ["list", "watch"]);
});

it("the hint for a missing token names the option, the variable and the header", async () => {
  const { code, stderr } = await run(["get", "pods", "a"], "");
  expect([code, stderr]).toEqual([2, expect.stringContaining("--token or CAIRN_AUTH_TOKEN")]);
  expect(stderr).toContain("Authorization: Bearer");
});

it.each([
  ["get", "events", "x"],
  ["list", "tx"],
  ["history", "watch", "x"],
  ["tx", "put", "policies", "x", "1"],
  ["tx", "delete", "Pods", "x"],
])(
  "cairn %s %s is refused because of the bucket's name, not because of a parameter that is absent",
  async (...argv) => {
    const { code, stdout, stderr } = await run(argv);
    expect([code, stdout, stderr]).toEqual([
      2,
      "",
      expect.stringContaining("REQUEST_INVALID: Not a valid bucket name: "),
    ]);
    expect(stderr).toContain("These names are reserved: tx, events, ");
    expect(stderr).not.toContain("parameter");
  },
);

it("an invalid --as-of is refused with examples that are valid", async () => {
  const { stderr } = await run(["list", "pods", "--as-of", "soon"]);
  const example = /Write, for example, (\S+) or (\S+)\./.exec(stderr);
  for (const at of [example?.[1], example?.[2]]) {
    expect((await run(["list", "pods", "--as-of", at === "1200" ? "2" : (at ?? "")])).stderr).not.toContain(
      "REQUEST_INVALID",
    );
  }
});

it("cairn tx evict removes a document from all reads, and the command in its hint shows where the bytes remain", async () => {
  expect((await run(["tx", "put", "people", "anna", '{"age": 7}'])).code).toBe(0);
  const { code, stdout } = await run(["tx", "evict", "people", "anna"]);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/^evicted as transaction \d+; cairn evictions /)]);
  expect((await run(["history", "people", "anna"])).code).toBe(1);
  expect((await run(["evictions"])).stdout).toContain("default/anna");
  await expectCommands(stdout, ["evictions"]);
});
