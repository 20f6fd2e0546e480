import { CairnClient } from "@cairn/client";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type CairnNode, startNode } from "@cairn/node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

let folder = "";
let nodes: CairnNode[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-policies-"));
});
afterEach(async () => {
  for (const node of nodes) await node.close();
  nodes = [];
  await rm(folder, { recursive: true, force: true });
});

async function start(policies?: object): Promise<{ node: CairnNode; url: string }> {
  const node = await startNode(
    {
      "cairn/node": { id: "n1", dir: folder },
      "cairn/http-server": { port: 0 },
      ...(policies === undefined ? {} : { "cairn/policies": policies }),
    },
    { env: {}, cwd: folder },
  );
  nodes.push(node);
  await node.ready;
  return { node, url: node.url ?? "" };
}

async function call(url: string, method = "GET", body?: unknown, headers: Record<string, string> = {}) {
  const answer = await fetch(url, {
    method,
    headers,
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const json = (await answer.json()) as unknown;
  return { status: answer.status, json, headers: answer.headers };
}

async function put(node: CairnNode, bucket: string, key: string, document: object): Promise<number> {
  const { txId } = await node.submit({ ops: [["put", bucket, key, document as never]] });
  await node.await(txId);
  return txId;
}

describe("policies", () => {
  it("are set only if their revision is the one that the client has seen, and are shown with their revision", async () => {
    const { url } = await start();
    expect(await call(`${url}/api/v1/policies`)).toMatchObject({
      status: 200,
      json: { revision: null, policies: {}, file: null },
    });
    const policies = { indexes: { pods: ["node"] } };
    const set = await call(`${url}/api/v1/policies`, "PUT", policies, { "if-none-match": "*" });
    expect(set).toMatchObject({ status: 200, json: { txId: 2 } });
    expect(set.headers.get("etag")).toBe('"2"');
    for (const headers of [{ "if-none-match": "*" }, { "if-match": '"1"' }]) {
      const lost = await call(`${url}/api/v1/policies`, "PUT", {}, headers);
      expect(lost).toMatchObject({ status: 412, json: { error: { code: "CONFLICT" } } });
    }
    expect((await call(`${url}/api/v1/policies`)).json).toEqual({ revision: 2, policies, file: null });
  });

  it("with mistakes are refused with the path of each mistake, and change nothing", async () => {
    const { url } = await start();
    const wrong = {
      index: {},
      indexes: { pods: ["a:b", "a<b", "-a"], Pods: ["x"] },
      expire: { pods: { after: "P1M" } },
      events: { keep: 0 },
    };
    const { status, json } = await call(`${url}/api/v1/policies`, "PUT", wrong);
    expect(status).toBe(400);
    expect(json).toMatchObject({
      error: { code: "TX_INVALID" },
      problems: [
        { path: ["index"], message: expect.stringContaining("indexes") },
        { path: ["indexes", "pods", "0"] },
        { path: ["indexes", "pods", "1"] },
        { path: ["indexes", "pods", "2"] },
        { path: ["indexes", "Pods"] },
        { path: ["expire", "pods", "after"] },
        { path: ["events", "keep"] },
      ],
    });
    expect((await call(`${url}/api/v1/policies`)).json).toMatchObject({ revision: null });
  });

  it("that are refused have the same hint over HTTP and in every client, and their mistakes have paths", async () => {
    const { node, url } = await start();
    await put(node, "pods", "default/a", {});
    await put(node, "jobs", "default/a", {});
    const queue = { shards: 2, cap: 9, terminal: { state: ["done"] }, lease: "PT1M" };
    const cases = [
      { policies: { events: { keep: 0 } }, hint: /^Correct the policies, .*Nothing was changed\.$/ },
      { policies: { queues: { jobs: queue } }, hint: /^Do first what the reason says/ },
      { policies: {}, revision: 1, hint: /^Read the policies again/ },
    ];
    for (const { policies, revision, hint } of cases) {
      const headers = revision === undefined ? {} : { "if-match": `"${revision}"` };
      const refused = await call(`${url}/api/v1/policies`, "PUT", policies, headers);
      const { error, ...details } = refused.json as {
        error: { code: string; hint: string };
        problems?: object[];
      };
      expect(error.hint).toMatch(hint);
      const options = revision === undefined ? {} : { ifRevision: revision };
      for (const client of [new CairnClient({ urls: url }), node.client()]) {
        const setting = client.setPolicies(policies as never, options);
        await expect(setting).rejects.toMatchObject({ code: error.code, hint: error.hint, details });
      }
    }
    const transaction = {
      ops: [
        ["put", "pods", "b", 1],
        ["configure", { events: { keep: 0 } }],
      ],
    };
    const mixed = await call(`${url}/api/v1/tx`, "POST", transaction);
    expect(mixed).toMatchObject({ status: 400, json: { problems: [{ path: ["events", "keep"] }] } });
  });

  it("of a configuration are set if the log has none, and only reported if they differ", async () => {
    const first = await start({ indexes: { pods: ["state"] } });
    expect(await first.node.policies()).toMatchObject({ revision: 2, file: "same" });
    await first.node.close();
    nodes = [];
    const second = await start({ indexes: { pods: ["node"] } });
    expect(await second.node.policies()).toMatchObject({
      revision: 2,
      policies: { indexes: { pods: ["state"] } },
      file: "different",
    });
  });

  it("are shown and applied by the command, which does not set equal ones again", async () => {
    const { url } = await start();
    const run = (argv: readonly string[]) => cairn(argv, new CapturedTerminal({ env: { CAIRN_URL: url } }));
    const file = path.join(folder, "policies.json");
    await writeFile(file, '{"events": {"keep": 10}}');
    expect(await run(["policy", "apply", file])).toMatchObject({ code: 0, stdout: "set by transaction 2\n" });
    expect((await run(["policy", "apply", file])).stdout).toBe("unchanged since transaction 2\n");
    expect(JSON.parse((await run(["policy", "show"])).stdout)).toEqual({ events: { keep: 10 } });
    await writeFile(file, '{"events": {"keep": "many"}}');
    const wrong = await run(["policy", "apply", file]);
    expect(wrong).toMatchObject({ code: 2, stdout: "" });
    expect(wrong.stderr).toContain("events > keep: Expected a whole number");
    await writeFile(file, '{"index": {}, "expire": {"pods": {"whem": {}, "after": "30D"}}}');
    expect((await run(["policy", "apply", file])).stderr.split("\n")).toEqual([
      `USAGE: The policies in ${file} contain 3 mistakes, so nothing was set.`,
      "  index: There is no such policy. Did you mean indexes?",
      "  expire > pods > whem: There is no such thing here. Did you mean when?",
      '  expire > pods > after: "30D" is not a duration. Did you mean P30D?',
      "  hint: Correct the file. docs/policies.md describes policies.",
      "",
    ]);
    expect(JSON.parse((await run(["policy", "apply", file, "--json"])).stderr)).toMatchObject({
      error: { code: "USAGE" },
      problems: [{ path: ["index"] }, { path: ["expire", "pods", "whem"] }, {}],
    });
    await writeFile(file, "{}");
    expect(await run(["policy", "apply", file, "--if-revision", "9"])).toMatchObject({ code: 1 });
  });

  it("with a repeated key are refused by the command and by the node, with the position of the second occurrence", async () => {
    const { url } = await start();
    const twice =
      '{"events": {"keep": 10},\n "history": {"pods": {"keep": 1, "for": "P1D", "k\\u0065ep": 2}},\n "events": {}}';
    const file = path.join(folder, "policies.json");
    await writeFile(file, twice);
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: url }, stdin: twice, cwd: folder });
    expect((await cairn(["policy", "apply", "policies.json"], terminal)).stderr.split("\n")).toEqual([
      "USAGE: The policies in policies.json contain 3 mistakes, so nothing was set.",
      "  history > pods > keep: This key is repeated at policies.json:2:48; keep one of the two.",
      "  events: This key is repeated at policies.json:3:2; keep one of the two.",
      expect.stringMatching(/^ {2}events: It bounds nothing/),
      "  hint: Correct the file. docs/policies.md describes policies.",
      "",
    ]);
    const piped = new CapturedTerminal({ env: { CAIRN_URL: url }, stdin: twice });
    expect(await cairn(["policy", "apply", "-"], piped)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("standard input:2:48"),
    });
    const answer = await fetch(`${url}/api/v1/policies`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: twice,
    });
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      {
        error: {
          code: "TX_INVALID",
          message: expect.stringContaining("events: This key is repeated at body:3:2"),
        },
        problems: [{ path: ["history", "pods", "keep"] }, { path: ["events"] }],
      },
    ]);
    expect((await call(`${url}/api/v1/policies`)).json).toMatchObject({ revision: null });
  });

  it("are refused with a hint that names all policies, each of which /openapi.json describes", async () => {
    const { url } = await start();
    const refused = await fetch(`${url}/api/v1/policies`, { method: "PUT", body: '{"outcome":{}}' });
    const { error } = (await refused.json()) as { error: { hint: string } };
    const [, named = ""] = /which are a map with ([\w, ]+)\./.exec(error.hint) ?? [];
    const openApi = (await (await fetch(`${url}/openapi.json`)).json()) as {
      components: { schemas: { Policies: { properties: object } } };
    };
    expect(named.split(", ")).toEqual(Object.keys(openApi.components.schemas.Policies.properties));
  });
});

/** Returns the names in a list. */
function names(json: unknown): string[] {
  return (json as { name: string }[]).map(({ name }) => name);
}

describe("an indexed field", () => {
  it("is queried with where, page by page, and counted by value, even after a restart", async () => {
    const { node, url } = await start({ indexes: { executions: ["state", "on.node"] } });
    for (const [index, state] of ["running", "done", "running", "running"].entries()) {
      await put(node, "executions", `default/e${index}`, { state, on: { node: "n1" } });
    }
    const page = await call(`${url}/api/v1/executions?where=state:running&limit=2`);
    expect(page.json).toMatchObject([{ name: "e0" }, { name: "e2" }]);
    // The document changes between the pages, but the list continues as of the transaction at which it began.
    await put(node, "executions", "default/e3", { state: "done" });
    await put(node, "executions", "default/e4", { state: "running" });
    const next = /<([^>]*)>/.exec(page.headers.get("link") ?? "")?.[1] ?? "";
    expect((await call(`${url}${next}`)).json).toMatchObject([
      { name: "e3", document: { state: "running" } },
    ]);
    const counts = [
      {
        name: "executions",
        documents: 5,
        fields: {
          state: { counts: { done: 2, running: 3 }, more: false },
          "on.node": { counts: { n1: 3 }, more: false },
        },
      },
    ];
    expect((await call(`${url}/api/v1/buckets`)).json).toEqual(counts);
    await node.close();
    nodes = [];
    const again = await start();
    expect((await again.node.buckets()).buckets).toEqual(counts);
  });

  it("is queried together with others over HTTP, by the client and on the command line", async () => {
    const { node, url } = await start({ indexes: { executions: ["state", "on.node", "owner"] } });
    const states = ["running", "done", "running", "running", "running"];
    for (const [n, state] of states.entries()) {
      const owner = n === 4 ? "bo" : "an:na";
      await put(node, "executions", `default/e${n}`, { state, on: { node: `n${n % 2}` }, owner });
    }
    const asked = `${url}/api/v1/executions?where=state:running&where=owner:an:na`;
    expect(names((await call(asked)).json)).toEqual(["e0", "e2", "e3"]);
    expect(names((await call(`${asked}&where=on.node:n0`)).json)).toEqual(["e0", "e2"]);
    const page = await call(`${asked}&limit=2`);
    await put(node, "executions", "default/e3", { state: "done" });
    const next = /<([^>]*)>/.exec(page.headers.get("link") ?? "")?.[1] ?? "";
    expect([names(page.json), names((await call(url + next)).json)]).toEqual([["e0", "e2"], ["e3"]]);
    const where = ["state:running", "owner:an:na"];
    const listed = [];
    for await (const one of new CairnClient({ urls: url }).list("executions", { where, pageSize: 1 }))
      listed.push(one.name);
    expect(listed).toEqual(["e0", "e2"]);
    const told = await cairn(
      ["list", "executions", ...where.flatMap((one) => ["--where", one]), "--json", "--limit", "1", "--all"],
      new CapturedTerminal({ env: { CAIRN_URL: url } }),
    );
    expect(
      told.stdout
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { name: string }).name),
    ).toEqual(["e0", "e2"]);
    for (const [also, message] of [
      ["state:done", 'The field "state" is in more than one condition.'],
      ["zone:a", 'The field "zone" of executions is not indexed.'],
    ]) {
      const { status, json } = await call(`${asked}&where=${also}`);
      expect([status, json]).toMatchObject([400, { error: { code: "REQUEST_INVALID", message } }]);
    }
    expect((await call(`${asked}&limit=1&limit=2`)).status).toBe(400);
  });

  it("is listed by ranges and in its order over HTTP, by the node, the client and on the command line", async () => {
    const { node, url } = await start({ indexes: { people: ["age", "at"] } });
    const ages = [18, 100, "18", 9, null, 64.5, "x"];
    for (const [n, age] of ages.entries())
      await put(node, "people", `default/p${n}`, { age, at: `2026-11-2${n}`, zone: n });
    const people = `${url}/api/v1/people`;
    const list = async (query: string) => names((await call(`${people}?${query}`)).json);
    expect(await list("where=age>=18&where=age<100")).toEqual(["p0", "p5"]);
    expect(await list("where=age%3E%3D%2218%22&order=-at")).toEqual(["p6", "p2"]);
    expect(await list("where=at>2026-11-20&where=at<=2026-11-23&where=age:18")).toEqual(["p2"]);
    expect(await list("where=at>=2026")).toEqual([]);
    expect(await list('where=at>="2026"&limit=2')).toEqual(["p0", "p1"]);
    const page = await call(`${people}?order=-age&limit=4`);
    await put(node, "people", "default/p3", { age: 99 });
    const next = /<([^>]*)>/.exec(page.headers.get("link") ?? "")?.[1] ?? "";
    expect([names(page.json), names((await call(url + next)).json)]).toEqual([
      ["p6", "p2", "p1", "p5"],
      ["p0", "p3"],
    ]);
    const { buckets } = await node.buckets();
    expect(buckets[0]?.fields["age"]).toMatchObject({ counts: { 18: 2, 64.5: 1, 99: 1, 100: 1, x: 1 } });
    const wanted = ["p1", "p3", "p5"];
    const where = { field: "age", is: ">", value: 18 } as const;
    expect(names((await node.list({ bucket: "people", where, order: "-age" })).documents)).toEqual(wanted);
    const listed: string[] = [];
    const query = { where: "age>18", order: "-age", pageSize: 1 };
    for await (const { name } of new CairnClient({ urls: url }).list("people", query)) listed.push(name);
    expect(listed).toEqual(wanted);
    const { stdout } = await cairn(
      ["list", "people", "--where", "age>18", "--order", "-age", "--json"],
      new CapturedTerminal({ env: { CAIRN_URL: url } }),
    );
    const printed = stdout.trim().split("\n");
    expect(names(printed.map((line) => JSON.parse(line) as unknown))).toEqual(wanted);
  });

  it("is refused in a range or an order that cannot be answered, with a hint that helps", async () => {
    const { node, url } = await start({ indexes: { people: ["age"] } });
    await put(node, "people", "default/p", { age: 1, zone: 2 });
    const people = `${url}/api/v1/people`;
    const first = await call(`${people}?order=age&limit=1`);
    expect(first.status).toBe(200);
    for (const [query, message] of [
      ["where=age=1", /^where must be field:value, .* or a range, such as age>=18, not "age=1"\.$/],
      ["where=age>1&where=age>=2", /^The field "age" is in more than one condition\.$/],
      ["where=age>1&where=age<3&where=age<=2", /^The field "age" is in more than one condition\.$/],
      ["where=age>1&where=age:2", /^The field "age" is in more than one condition\.$/],
      ["where=age>1e400", /a number must be finite\.$/],
      [String.raw`where=age>"\ud800"`, /must have at most 1024 bytes and be valid Unicode/],
      [`where=age>${"x".repeat(1_025)}`, /^A value in a condition must have at most 1024 bytes/],
      ["order=zone", /^The field "zone" of people is not indexed\.$/],
      ["order=", /^The field "" of people is not indexed\.$/],
    ] as const) {
      const { status, json } = await call(`${people}?${query}`);
      expect([status, json]).toMatchObject([400, { error: { code: "REQUEST_INVALID", message } }]);
    }
    const { json } = await call(`${people}?order=-zone`);
    const hint = /add this one to the policy "indexes" \(cairn policy apply\)/;
    expect(json).toMatchObject({ error: { hint } });
    await call(`${url}/api/v1/policies`, "PUT", { indexes: { people: ["age", "zone"] } });
    await vi.waitFor(async () => expect((await call(`${people}?order=-zone`)).status).toBe(200));
  });

  it("that is new is built in the background, and not used before it is complete", async () => {
    const { node, url } = await start();
    const ops = Array.from({ length: 900 }, (_, n) => {
      const document = { state: n % 3 === 0 ? "running" : "done" };
      return ["put", "executions", `default/e${n}`, document] as const;
    });
    await node.submit({ ops });
    await call(`${url}/api/v1/policies`, "PUT", { indexes: { executions: ["state"] } });
    const where = `${url}/api/v1/executions?where=state:running&limit=1000`;
    await vi.waitFor(async () => {
      const { status, json } = await call(where);
      // The response is either a refusal as not ready, or complete.
      if (status === 503) expect(json).toMatchObject({ error: { code: "NOT_READY" } });
      expect([status, (json as unknown[]).length]).toEqual([200, 300]);
    });
    const told = await cairn(
      ["list", "executions", "--where", "state:running", "--all", "--json"],
      new CapturedTerminal({ env: { CAIRN_URL: url } }),
    );
    expect(told.stdout.trim().split("\n")).toHaveLength(300);
  });

  it("is needed for a query: other fields are refused with the names of the indexed ones", async () => {
    const { url } = await start({ indexes: { pods: ["state", "zone"] } });
    const { status, json } = await call(`${url}/api/v1/pods?where=node:n1`);
    expect(status).toBe(400);
    expect(json).toMatchObject({
      error: { code: "REQUEST_INVALID", hint: expect.stringContaining("Use an indexed field (state, zone)") },
    });
    expect((await call(`${url}/api/v1/pods?where=state`)).status).toBe(400);
  });
});

describe("events", () => {
  it("are recorded and listed newest first, by object and bucket, page by page", async () => {
    const { url } = await start();
    const events = `${url}/api/v1/events`;
    const times = ["1714300000000000003", "1714300000000000001", "1714300000000000002"];
    for (const time of times) {
      const event = { object: "pod/web-0", reason: "Scheduled", bucket: "pods", message: "to n1", time };
      expect(await call(events, "POST", event)).toMatchObject({ status: 201, json: { time } });
    }
    const newest = await call(events, "POST", { object: "node/n1", reason: "Ready" });
    expect(newest.json).toMatchObject({ time: expect.stringMatching(/^\d{19}$/) });
    const all = (await call(events)).json as { object: string; time: string }[];
    expect(all.map(({ time }) => time).slice(1)).toEqual(times.toSorted().toReversed());
    expect(all[0]).toEqual({ ...(newest.json as object), object: "node/n1", reason: "Ready" });
    const page = await call(`${events}?bucket=pods&limit=2`);
    expect(page.json).toHaveLength(2);
    const next = /<([^>]*)>/.exec(page.headers.get("link") ?? "")?.[1] ?? "";
    expect((await call(`${url}${next}`)).json).toMatchObject([{ time: "1714300000000000001" }]);
    expect((await call(`${events}?object=node/n1`)).json).toHaveLength(1);
    const told = await cairn(
      ["events", "--bucket", "pods"],
      new CapturedTerminal({ env: { CAIRN_URL: url } }),
    );
    expect(told.stdout.split("\n").slice(0, 2)).toEqual([
      "TIME                      REASON     OBJECT     MESSAGE",
      "2024-04-28T10:26:40.000Z  Scheduled  pod/web-0  to n1",
    ]);
    expect((await call(`${events}?before=yesterday`)).status).toBe(400);
    expect((await call(`${events}?before=1714300000000000002`)).json).toHaveLength(1);
  });

  it.each([
    ["no object", { reason: "x" }, "an event needs object"],
    [
      "a time that is a number",
      { object: "a", reason: "x", time: 1 },
      "an event's time is text: nanoseconds",
    ],
    ["a time that is not a number", { object: "a", reason: "x", time: "today" }, "nanoseconds"],
    ["an invalid field", { object: "a", reason: "x", level: "y" }, '"level"'],
  ])("with %s are refused", async (_what, event, told) => {
    const { url } = await start();
    const { status, json } = await call(`${url}/api/v1/events`, "POST", event);
    expect(status).toBe(400);
    expect(json).toMatchObject({
      error: { code: "TX_INVALID", message: expect.stringMatching(/^Not a valid event: /) },
    });
    expect(json).toMatchObject({ error: { message: expect.stringContaining(told) } });
  });
});

describe("an eviction", () => {
  it("is listed with the locations that may still contain the bytes", async () => {
    const { node, url } = await start();
    await put(node, "pods", "default/secret", { password: "x" });
    const { txId } = await node.submit({ ops: [["evict", "pods", "default/secret"]] });
    await node.await(txId);
    expect((await call(`${url}/api/v1/tx/evictions`)).json).toMatchObject([
      {
        txId,
        bucket: "pods",
        namespace: "default",
        name: "secret",
        log: { firstTxId: 1, lastTxId: txId - 1 },
      },
    ]);
    const told = await cairn(["evictions"], new CapturedTerminal({ env: { CAIRN_URL: url } }));
    expect(told.stdout).toContain(`pods default/secret  1 to ${txId - 1}`);
  });
});
