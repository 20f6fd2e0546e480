import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { QueueStatus, TxOperation } from "@cairn/client";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";

const POLICY = { shards: 1, cap: 3, terminal: { state: ["done"] }, lease: "PT30S" };

let folder = "";
let node: CairnNode | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-queue-"));
  node = await startNode(
    { "cairn/node": { id: "n", dir: folder }, "cairn/http-server": { port: 0 } },
    { env: {} },
  );
  await node.ready;
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

async function run(argv: readonly string[], stdin = ""): Promise<CommandResult> {
  return await cairn(argv, new CapturedTerminal({ env: { CAIRN_URL: node?.url ?? "" }, stdin }));
}

async function apply(queues: object): Promise<void> {
  expect(await run(["policy", "apply", "-"], JSON.stringify({ queues }))).toMatchObject({ code: 0 });
}

async function done(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(argv);
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
}

/** Adds a queue to the policy, or changes it. */
async function newQueue(name: string, policy: object): Promise<void> {
  const { policies } = JSON.parse(await done("policy", "show", "--json")) as { policies: { queues: object } };
  await apply({ ...policies.queues, [name]: { ...POLICY, ...policy } });
}

it("the hint for a bucket that is no queue makes it one", async () => {
  expect(await run(["queue", "list"])).toMatchObject({
    code: 0,
    stderr: expect.stringContaining("None found.") as string,
  });
  const refused = await run(["queue", "show", "jobs"]);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(
    /NOT_FOUND: "jobs" is not a queue.*\n {2}hint: .*cairn queue list.*cairn policy show.*cairn policy apply/,
  );
  const policies = JSON.parse(await done("policy", "show", "--json")) as { policies?: object };
  await apply({ ...(policies.policies as { queues?: object } | undefined)?.queues, jobs: POLICY });
  expect(await done("queue", "show", "jobs")).toContain("1 spare");
});

it("queues, shards and entries are shown to people, and as JSON to programs", async () => {
  await apply({ jobs: POLICY });
  expect(await done("queue", "enqueue", "jobs", '{"state": "new"}', "--name", "a/b")).toMatch(
    /^enqueued a\/b in shard 0 as transaction \d+\n$/,
  );
  const piped = await run(["queue", "enqueue", "jobs", "-", "--json"], '{"state": "done"}');
  expect(JSON.parse(piped.stdout)).toMatchObject({
    shard: 0,
    name: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
  });
  await node?.await((await node.submit({ ops: [["claim", "jobs", 0, { as: "director-a" }]] })).txId);
  expect(await done("queue", "list")).toMatch(/^QUEUE +OPEN +ENTRIES +SHARDS\njobs +1 +2 +1 active\n$/);
  expect(await done("queue", "show", "jobs")).toMatch(
    /^Queue +jobs\nEntries +2, 1 of them open\nShards +1 active\nCap +3 entries a shard\nLease +PT30S\n\nSHARD +STATE +ENTRIES +OPEN +EPOCH +HELD BY +UNTIL\n +0 +active +2 +1 +\d+ +director-a +20\S+Z\n$/,
  );
  const [listed = ""] = (await done("queue", "list", "--json")).split("\n");
  const shown = JSON.parse(await done("queue", "show", "jobs", "--json")) as QueueStatus;
  expect(JSON.parse(listed)).toEqual(shown);
  expect(shown).toMatchObject({
    name: "jobs",
    entries: 2,
    open: 1,
    spare: 0,
    shards: [{ holder: { as: "director-a" } }],
  });
});

it("a name that is taken, and a document that is not JSON, are refused with a hint", async () => {
  const taken = await run(["queue", "enqueue", "jobs", "1", "--name", "a/b"]);
  expect([taken.code, taken.stderr]).toEqual([
    1,
    expect.stringMatching(
      /CONFLICT: Nothing was changed: jobs a\/b is in shard 0\.\n {2}hint: The entry exists already, and GET \/api\/v1\/queues\/jobs\/entry\?name=a%2Fb returns it\. Enqueue another one under another name\.\n$/,
    ),
  ]);
  const found = await fetch(`${node?.url ?? ""}/api/v1/queues/jobs/entry?name=a%2Fb`);
  expect(await found.json()).toMatchObject({ name: "a/b", shard: 0 });
  expect(await run(["queue", "enqueue", "jobs", "{"])).toMatchObject({ code: 2 });
  expect((await run(["queue", "drain", "jobs", "one"])).code).toBe(2);
});

it("an entry for which a queue has no room is enqueued after what the hint says", async () => {
  await newQueue("full", { cap: 1 });
  await done("queue", "enqueue", "full", '{"state": "new"}');
  const refused = await run(["queue", "enqueue", "full", '{"state": "new"}', "--name", "b"]);
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringMatching(
      /CONFLICT: Nothing was changed: full has no active shard below its cap \(1\) and no spare one\.\n {2}hint: .*raise "shards" or "cap" of full in the policies \(cairn policy show prints them\), and set them with cairn policy apply\n$/,
    ),
  ]);
  await newQueue("full", { cap: 2 });
  expect(await done("queue", "enqueue", "full", '{"state": "new"}', "--name", "b")).toContain("shard 0");
});

it("a shard that cannot be drained for lack of room is drained after what the hint says", async () => {
  const refused = await run(["queue", "drain", "jobs", "0"]);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(
    /CONFLICT: Shard 0 of jobs was not retired: No other shard of jobs has room\.\n {2}hint: /,
  );
  expect(refused.stderr).toMatch(
    /Raise "shards" or "cap" of \w+ in the policies \(cairn policy show prints them\), set them with cairn policy apply, and run the command again/,
  );
  expect(await done("queue", "show", "jobs")).toContain("1 active");
  await newQueue("jobs", { shards: 2 });
  expect(await done("queue", "drain", "jobs", "0")).toBe(
    "retired shard 0: moved 1 entry; the next transactions remove its rows\n",
  );
  expect(JSON.parse(await done("queue", "show", "jobs", "--json"))).toMatchObject({ open: 1 });
  const again = await run(["queue", "drain", "jobs", "0"]);
  expect([again.code, again.stderr]).toEqual([
    1,
    expect.stringMatching(/jobs shard 0 is (?:retiring|spare)\.\n {2}hint: .* has nothing left to drain/),
  ]);
});

it("a queue gets fewer shards after what the hints of the refusals say, although nothing else is written", async () => {
  const policy = { shards: 2, cap: 1_000 };
  await newQueue("fewer", policy);
  const names = Array.from(
    { length: 600 },
    (_, n) => ["put", "fewer", `1/e${n}`, { state: "done" }] as const,
  );
  await node?.await((await node.submit({ ops: [["claim", "fewer", 1, { as: "b" }], ...names] })).txId);
  const fewer = JSON.stringify({
    queues: {
      jobs: { ...POLICY, shards: 2 },
      full: { ...POLICY, cap: 2 },
      fewer: { ...POLICY, ...policy, shards: 1 },
    },
  });
  const refused = await run(["policy", "apply", "-"], fewer);
  expect(refused.stderr).toMatch(
    /drain and retire it before reducing shards to 1\.\n {2}hint: Do first what the reason says/,
  );
  await done("queue", "drain", "fewer", "1");
  // Each refusal is a transaction, which removes up to 256 of the 600 rows; then one finds that there are none left.
  const codes: number[] = [];
  while (codes.at(-1) !== 0 && codes.length < 10)
    codes.push((await run(["policy", "apply", "-"], fewer)).code);
  expect(codes).toEqual([1, 1, 1, 1, 0]);
});

it("a drain that is interrupted gives the shard back, and the next one moves the rest", async () => {
  await newQueue("many", { shards: 2, cap: 1000 });
  const ops = Array.from({ length: 300 }, (_, n) => ["enqueue", "many", `e${n}`, { state: "new" }] as const);
  await node?.await((await node.submit({ ops: [...ops, ["claim", "many", 1, { as: "b" }]] })).txId);

  const first = await drainInterruptedAt("move", "many");
  expect([first.code, first.stdout]).toEqual([130, ""]);
  expect(first.stderr).toContain("moving ");
  expect(first.stderr).toMatch(
    /INTERRUPTED: Interrupted; the shard takes entries again, and 256 of its open entries were moved\.\n {2}hint: Run the command again/,
  );
  const shown = JSON.parse(await done("queue", "show", "many", "--json")) as QueueStatus;
  expect(shown.shards[0]).toMatchObject({ shard: 0, state: "active", open: 44, holder: null });
  // The retirement cannot be undone, so a signal that comes this late changes nothing.
  const second = await drainInterruptedAt("retire", "many");
  expect([second.code, second.stdout]).toEqual([
    0,
    expect.stringMatching(/^retired shard 0: moved 44 entries; /),
  ]);
});

/** Returns the configuration of a node that ends and starts again. */
function awayConfig(port: number): object {
  return {
    "cairn/node": { id: "away", dir: path.join(folder, "away") },
    "cairn/http-server": { port },
  };
}

it("a drain says that no node responds, and continues when one does", { tags: "rest/slow" }, async () => {
  let away = await startNode(awayConfig(0), { env: {} });
  await away.ready;
  const url = away.url ?? "";
  const operations: TxOperation[] = [
    ["configure", { queues: { jobs: { ...POLICY, shards: 2 } } }],
    ["enqueue", "jobs", "e1", { state: "new" }],
  ];
  for (const operation of operations) await away.await((await away.submit({ ops: [operation] })).txId);
  const terminal = new CapturedTerminal({ env: { CAIRN_URL: url }, isTTY: true });
  let closing: Promise<void> | undefined;
  const submit = away.submit.bind(away);
  vi.spyOn(away, "submit").mockImplementation(async (transaction, options) => {
    if (transaction.ops.some(([kind]) => kind === "move")) await (closing ??= away.close());
    return await submit(transaction, options);
  });
  const draining = cairn(["queue", "drain", "jobs", "0"], terminal);
  await vi.waitFor(() => expect(terminal.stderr.text).toContain("No node responds"), { timeout: 30_000 });
  await closing;
  away = await startNode(awayConfig(Number(new URL(url).port)), { env: {} });
  expect(await draining).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^retired shard 0: moved 1 entry;/) as string,
  });
  await away.close();
});

/** Drains a queue, and sends the command SIGINT when the node gets the first such operation. */
async function drainInterruptedAt(operation: string, queue: string): Promise<CommandResult> {
  const terminal = new CapturedTerminal({ env: { CAIRN_URL: node?.url ?? "" }, isTTY: true });
  const live = node as CairnNode;
  const submit = live.submit.bind(live);
  const spy = vi.spyOn(live, "submit").mockImplementation((transaction, options) => {
    if (transaction.ops.some(([kind]) => kind === operation)) terminal.signal("SIGINT");
    return submit(transaction, options);
  });
  try {
    return await cairn(["queue", "drain", queue, "0"], terminal);
  } finally {
    spy.mockRestore();
  }
}
