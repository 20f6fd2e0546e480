import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type AnyOperation, CairnClient, type QueueEntry, type QueueStatus } from "@cairn/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";

const POLICY = { shards: 3, cap: 4, terminal: { state: ["done"] }, lease: "PT30S" };
const OPEN = { state: "new" };

let folder = "";
let node: CairnNode | undefined;
let url = "";
let client = new CairnClient({ urls: "http://127.0.0.1:1" });
let made = 0;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-queues-"));
  node = await startNode(
    { "cairn/node": { id: "n", dir: folder }, "cairn/http-server": { port: 0 } },
    { env: {} },
  );
  await node.ready;
  url = node.url ?? "";
  client = new CairnClient({ urls: url });
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

/** Makes a new queue, and returns its name. */
async function newQueue(policy: object = POLICY): Promise<string> {
  const name = `jobs-${(made += 1)}`;
  const queues = Object.fromEntries(Array.from({ length: made }, (_, at) => [`jobs-${at + 1}`, POLICY]));
  const body = JSON.stringify({ queues: { ...queues, [name]: policy } });
  expect((await fetch(`${url}/api/v1/policies`, { method: "PUT", body })).status).toBe(200);
  return name;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown> & { error?: { code: string; message: string; hint: string } };
  readonly headers: Headers;
}

async function ask(method: string, address: string, body?: unknown): Promise<Answer> {
  const answer = await fetch(`${url}/api/v1/queues${address}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Answer["body"], headers: answer.headers };
}

describe("the queues over HTTP", () => {
  it("go from an enqueued entry through a claim to a finished and a retired one", async () => {
    const policy = { ...POLICY, shards: 2 };
    const queue = await newQueue(policy);
    expect((await ask("GET", `/${queue}`)).body).toEqual({
      name: queue,
      policy,
      entries: 0,
      open: 0,
      spare: 2,
      shards: [],
    });
    const enqueued = await ask("POST", `/${queue}/entries`, { name: "a/b", document: OPEN });
    expect(enqueued.status).toBe(201);
    expect(enqueued.body).toMatchObject({ name: "a/b", shard: 0 });
    const unnamed = await ask("POST", `/${queue}/entries`, { document: null });
    expect(unnamed.body["name"]).toMatch(/^[0-9a-f-]{36}$/);

    const claimed = await ask("POST", `/${queue}/shards/0/claim`, { as: "me" });
    expect([claimed.status, claimed.body["epoch"]]).toEqual([200, claimed.body["txId"]]);
    const epoch = Number(claimed.body["epoch"]);
    const [shown] = ((await ask("GET", `/${queue}`)).body as unknown as QueueStatus).shards;
    const until = new Date(Date.parse(String(claimed.body["txTime"])) + 30_000).toISOString();
    const holder = { as: "me", until };
    expect(shown).toEqual({ shard: 0, state: "active", entries: 2, open: 2, epoch, holder });

    const renewed = await ask("POST", `/${queue}/shards/0/renew`, { epoch });
    expect(renewed.body).toMatchObject({ epoch });
    const put = ["put", queue, "0/a/b", { state: "done" }, { epoch }];
    expect(await client.transact({ ops: [put as never] })).toMatchObject({ committed: true });
    const entry = await ask("GET", `/${queue}/entry?name=a%2Fb`);
    expect(entry.body).toEqual({
      shard: 0,
      name: "a/b",
      revision: expect.any(Number) as number,
      createdTx: enqueued.body["txId"],
      document: { state: "done" },
      open: false,
      moved: null,
    });
    expect((await ask("POST", `/${queue}/shards/0/release`, { epoch })).status).toBe(200);

    const drained = await ask("POST", `/${queue}/shards/0/drain`, { as: "drainer" });
    const refused = await ask("POST", `/${queue}/shards/0/retire`, { epoch: drained.body["epoch"] });
    expect(refused.status).toBe(409);
    expect(refused.body.error).toMatchObject({
      code: "CONFLICT",
      message: `Nothing was changed: ${queue} shard 0 has 1 open.`,
      hint: expect.stringContaining(`cairn queue show ${queue}`) as string,
    });
    const evict = ["evict", queue, `0/${String(unnamed.body["name"])}`];
    expect(await client.transact({ ops: [evict as never] })).toMatchObject({ committed: true });
    expect((await ask("POST", `/${queue}/shards/0/retire`, { epoch: drained.body["epoch"] })).status).toBe(
      200,
    );
    expect((await ask("GET", `/${queue}`)).body).toMatchObject({ shards: [{ shard: 0, state: "retiring" }] });
  });

  it("list the open entries of a shard page by page, in the order of their creation", async () => {
    const queue = await newQueue({ ...POLICY, shards: 1, cap: 100 });
    const names = Array.from({ length: 25 }, (_, n) => `e${(n * 7) % 25}`);
    for (const name of names) await client.enqueue(queue, name, OPEN);
    const found: string[] = [];
    let address: string | undefined = `/${queue}/shards/0/open?limit=10`;
    while (address !== undefined) {
      const answer: Answer = await ask("GET", address);
      found.push(...(answer.body as unknown as QueueEntry[]).map(({ name }) => name));
      const next = /^<(.*)>/.exec(answer.headers.get("link") ?? "")?.[1];
      address = next?.replace("/api/v1/queues", "");
    }
    expect(found).toEqual(names);
    let cursor: string | undefined;
    const again: string[] = [];
    do {
      const page = await client.openEntries(queue, 0, { limit: 7, cursor });
      again.push(...page.entries.map(({ name }) => name));
      cursor = page.next;
    } while (cursor !== undefined);
    expect(again).toEqual(names);
  });

  it.each<[what: string, method: string, address: string, body: unknown, status: number, message: RegExp]>([
    ["a bucket that is no queue", "GET", "/pods", undefined, 404, /"pods" is not a queue/],
    ["its open entries", "GET", "/pods/shards/0/open", undefined, 404, /"pods" is not a queue/],
    ["its entry", "GET", "/pods/entry?name=a", undefined, 404, /"pods" is not a queue/],
    ["an entry for it", "POST", "/pods/entries", { document: 1 }, 404, /"pods" is not a queue/],
    ["a claim of it", "POST", "/pods/shards/0/claim", { as: "me" }, 404, /"pods" is not a queue/],
    ["a name that no queue can have", "GET", "/0?min-tx=999999&timeout=PT1H", undefined, 400, /must match/],
    [
      "an unknown action",
      "POST",
      "/jobs-1/shards/0/steal",
      { as: "me" },
      404,
      /Unknown address: POST .*steal/,
    ],
    [
      "to claim the open entries",
      "POST",
      "/jobs-1/shards/0/open",
      { as: "me" },
      405,
      /allowed methods: GET, HEAD\.$/,
    ],
    [
      "a shard that is no number",
      "POST",
      "/jobs-1/shards/one/claim",
      { as: "me" },
      400,
      /from 0 to 1023, not "one"/,
    ],
    ["a shard beyond the last", "POST", "/jobs-1/shards/3/claim", { as: "me" }, 409, /jobs-1 has no shard 3/],
    ["its open entries", "GET", "/jobs-1/shards/3/open", undefined, 404, /^"jobs-1" has no shard 3\.$/],
    [
      "an epoch as text",
      "POST",
      "/jobs-1/shards/0/renew",
      { epoch: "3", as: "me" },
      400,
      /^Not a valid renew: an epoch is a positive integer/,
    ],
    [
      "a hold as an epoch",
      "POST",
      "/jobs-1/shards/0/renew",
      { epoch: { epoch: 3, as: "me" } },
      400,
      /another form/,
    ],
    ["a name that is no text", "POST", "/jobs-1/shards/0/claim", { as: 3 }, 400, /1 to 256 bytes/],
    ["a claim with an epoch", "POST", "/jobs-1/shards/0/claim", { epoch: 3 }, 400, /Not a valid claim/],
    ["a claim without a name", "POST", "/jobs-1/shards/0/claim", { as: "" }, 400, /1 to 256 bytes/],
    ["a renewal without an epoch", "POST", "/jobs-1/shards/0/renew", {}, 400, /Not a valid renew/],
    ["an entry without a document", "POST", "/jobs-1/entries", { name: "a" }, 400, /Not a valid entry/],
    [
      "an entry with another field",
      "POST",
      "/jobs-1/entries",
      { doc: 1, document: 1 },
      400,
      /Not a valid entry/,
    ],
    ["an entry that is no map", "POST", "/jobs-1/entries", [], 400, /Not a valid entry/],
    [
      "an entry with an empty name",
      "POST",
      "/jobs-1/entries",
      { name: "", document: 1 },
      400,
      /1 to 1024 bytes/,
    ],
    ["an entry that is not there", "GET", "/jobs-1/entry?name=none", undefined, 404, /no entry "none"/],
    ["an entry without a name", "GET", "/jobs-1/entry", undefined, 400, /parameter name/],
    ["the cursor of another list", "GET", "/jobs-1/shards/0/open?cursor=x", undefined, 400, /cursor/],
    ["a method that it does not have", "DELETE", "/jobs-1", undefined, 405, /DELETE/],
  ])("refuse %s with a reason and a hint", async (_what, method, address, body, status, message) => {
    const answer = await ask(method, address, body);
    expect([answer.status, answer.body.error?.message]).toEqual([status, expect.stringMatching(message)]);
    expect(answer.body.error?.hint).toMatch(/\w+/);
  });

  it.each<[what: string, method: string, address: string, body: unknown, status: number, told: RegExp]>([
    ["an empty name", "POST", "/jobs-1/entries", { name: "", document: 1 }, 400, /^Send {"name": name, "doc/],
    ["a nameless claim", "POST", "/jobs-1/shards/0/claim", { as: "" }, 400, /^Send {"as": name}/],
    [
      "a negative epoch",
      "POST",
      "/jobs-1/shards/0/renew",
      { epoch: -1 },
      400,
      /^Send {"epoch": epoch, "as": name}/,
    ],
    ["leading zeros", "GET", "/jobs-1/shards/00/open", undefined, 400, /lists the shards/],
    ["shards without one", "GET", "/jobs-1/shards", undefined, 404, /queues\/{queue} returns the shards/],
    [
      "a put into a queue",
      "PUT",
      "/../jobs-1/2/new",
      1,
      409,
      /^The bucket is a queue.*\(cairn queue enqueue/,
    ],
    ["a delete of nothing", "DELETE", "/../jobs-1/2/new", undefined, 409, /^The bucket is a queue/],
    ["its policy", "PUT", "/../policies", {}, 409, /^Do first what the reason says/],
  ])("refuse %s with a hint of its own", async (_what, method, address, body, status, told) => {
    if (made === 0) await newQueue();
    await ask("POST", "/jobs-1/entries", { document: OPEN });
    const answer = await ask(method, address, body);
    expect([answer.status, answer.body.error?.hint]).toEqual([status, expect.stringMatching(told)]);
  });

  it("answer the request that the hint about an absent shard names", async () => {
    const queue = await newQueue();
    const { hint } = (await ask("GET", `/${queue}/shards/3/open`)).body.error ?? {};
    const address = /GET \/api\/v1\/queues(\/\S+)/.exec(hint ?? "")?.[1];
    const shown = await ask("GET", address ?? "");
    expect([shown.status, shown.body["policy"]]).toEqual([200, expect.objectContaining({ shards: 3 })]);
  });

  it("refuse a shard that is no whole number, also from an embedding program", async () => {
    const queue = await newQueue();
    for (const shard of [1.5, Number.NaN, -1, 3]) {
      await expect(node?.openEntries({ queue, shard })).rejects.toMatchObject({ code: "NOT_FOUND" });
    }
  });

  it("compare the name of the holder if a request contains it", async () => {
    const queue = await newQueue();
    const { epoch } = (await ask("POST", `/${queue}/shards/1/claim`, { as: "me" })).body;
    for (const action of ["renew", "release"]) {
      const other = await ask("POST", `/${queue}/shards/1/${action}`, { epoch, as: "you" });
      expect([other.status, other.body.error?.message]).toEqual([
        409,
        `Nothing was changed: ${queue} shard 1 epoch ${String(epoch)} belongs to "me".`,
      ]);
      const own = await ask("POST", `/${queue}/shards/1/${action}`, { epoch, as: "me" });
      expect([own.status, own.body["epoch"]]).toEqual([200, epoch]);
    }
  });

  it("return the name of an entry whose outcome is unknown", async () => {
    const queue = await newQueue();
    const sent = await ask("POST", `/${queue}/entries?await=false`, { document: OPEN });
    expect([sent.status, sent.body["name"]]).toEqual([202, expect.stringMatching(/^[0-9a-f-]{36}$/)]);
    await node?.await(Number(sent.body["txId"]));
    const enqueue = (): Promise<Answer> => ask("POST", `/${queue}/entries?timeout=0`, { document: OPEN });
    let late = await enqueue();
    // The outcome may be known in time.
    while (late.status === 201) late = await enqueue();
    const { name } = late.body;
    expect(late.body).toMatchObject({
      error: { code: "TX_TIMEOUT", hint: expect.stringMatching(/sent again safely with this name\.$/) },
      name: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    const [, told = ""] = /GET \/api\/v1\/queues(\S+) shows it/.exec(late.body.error?.hint ?? "") ?? [];
    await expect.poll(async () => (await ask("GET", told)).body["name"]).toBe(name);
  });

  it("say which shard has an entry, also to a client that sends it again", async () => {
    const queue = await newQueue();
    const id = `enqueue-${queue}`;
    const first = await client.enqueue(queue, "once", OPEN, { id });
    expect(first.shard).toBe(0);
    expect(await client.enqueue(queue, "once", OPEN, { id })).toEqual(first);
    await expect(client.enqueue(queue, "once", OPEN)).rejects.toMatchObject({
      code: "CONFLICT",
      message: `Nothing was written: ${queue} once is in shard 0.`,
    });
    expect(await client.entry(queue, "once")).toMatchObject({ shard: 0, open: true, moved: null });
    expect(await client.entry(queue, "never")).toBeUndefined();
    await expect(client.entry("pods", "never")).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect((await client.queues()).map(({ name }) => name)).toContain(queue);
    expect(await client.queue(queue)).toMatchObject({ entries: 1, open: 1, spare: 2 });
  });

  it("are counted in the metrics, and no longer after they were removed", async () => {
    const queue = await newQueue();
    await client.enqueue(queue, "counted", OPEN);
    const values = async (): Promise<string[]> => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return text.split("\n").filter((line) => line.includes(`queue="${queue}"`));
    };
    expect(await values()).toEqual([
      `cairn_queue_open{queue="${queue}"} 1`,
      `cairn_queue_entries{queue="${queue}"} 1`,
      `cairn_queue_shards{queue="${queue}",state="active"} 1`,
      `cairn_queue_shards{queue="${queue}",state="draining"} 0`,
      `cairn_queue_shards{queue="${queue}",state="retiring"} 0`,
      `cairn_queue_shards{queue="${queue}",state="spare"} 2`,
    ]);
    const other = await newQueue();
    const kept = Object.fromEntries([...(await client.queues())].map(({ name, policy }) => [name, policy]));
    await client.transact({ ops: [["configure", { queues: kept }]] });
    delete kept[other];
    expect(await client.transact({ ops: [["configure", { queues: kept }]] })).toMatchObject({
      committed: true,
    });
    expect(await (await fetch(`${url}/metrics`)).text()).not.toContain(`queue="${other}"`);
    await client.transact({ ops: [["configure", { queues: { ...kept, [other]: POLICY } }]] });
  });

  it("show a moved entry where it is now, with where it came from", async () => {
    const queue = await newQueue();
    await client.enqueue(queue, "m", OPEN);
    await client.transact<AnyOperation>({ ops: [["claim", queue, 1, { as: "other" }]] });
    const { txId: epoch } = await client.transact<AnyOperation>({
      ops: [["drain", queue, 0, { as: "drainer" }]],
    });
    const { txId } = await client.transact<AnyOperation>({ ops: [["move", queue, "0/m", 1, epoch]] });
    expect(await client.entry(queue, "m")).toMatchObject({ shard: 1, open: true, moved: { from: 0, txId } });
  });

  it("include everything that was acknowledged before a linearizable read, and wait for min-tx", async () => {
    const queue = await newQueue();
    const { txId } = (await ask("POST", `/${queue}/entries?await=false`, { name: "x", document: OPEN })).body;
    expect((await ask("GET", `/${queue}/entry?name=x&min-tx=${String(txId)}`)).status).toBe(200);
    expect((await ask("GET", `/${queue}?linearizable=true`)).body).toMatchObject({ entries: 1 });
  });
});
