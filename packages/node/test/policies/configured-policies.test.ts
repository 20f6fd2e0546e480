import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnError } from "@cairn/kv";
import { pino } from "pino";
import { type CairnNode, startNode } from "@cairn/node";
import { openEmbeddedTxLog } from "@cairn/engine";
import { FaultyTxLog } from "@cairn/engine/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

interface Line {
  readonly level: number;
  readonly msg: string;
  readonly code?: string;
  readonly hint?: string;
}

/** A log that can be read, but stores nothing as long as `refused` is set: it refuses, or never answers. */
class RefusingLog extends FaultyTxLog {
  refused: CairnError | "silently" | undefined;

  override async append(...message: Parameters<FaultyTxLog["append"]>): ReturnType<FaultyTxLog["append"]> {
    if (this.refused === "silently") return await new Promise(() => {});
    if (this.refused !== undefined) throw this.refused;
    return await super.append(...message);
  }
}

const QUEUE = { shards: 4, cap: 100, terminal: { state: "done" }, lease: "PT5S" } as const;
const POLICIES = { indexes: { pods: ["state"] }, queues: { jobs: QUEUE } } as const;

const write = (line: string): void => void warned.push(JSON.parse(line) as Line);

let folder = "";
let warned: Line[] = [];
let open: CairnNode[] = [];
let log: RefusingLog | undefined;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-policies-"));
  warned = [];
  log = undefined;
});
afterEach(async () => {
  for (const node of open) await node.close();
  open = [];
  await rm(folder, { recursive: true, force: true });
});

async function start(policies: object | undefined, more: object = {}): Promise<CairnNode> {
  const node = await startNode(
    {
      "cairn/node": { id: "a", dir: folder },
      "cairn/http-server": null,
      ...(policies === undefined ? {} : { "cairn/policies": policies }),
      ...more,
    },
    { logger: pino({ level: "warn" }, { write }), env: {}, cwd: folder },
  );
  open.push(node);
  return node;
}

/** Starts a node with HTTP on a log that stores nothing after its first message. */
async function refused(by: RefusingLog["refused"]): Promise<CairnNode> {
  await (await ready(undefined)).close();
  log = new RefusingLog(await openEmbeddedTxLog({ path: path.join(folder, "a-log") }));
  log.refused = by;
  return await start(POLICIES, { "cairn/tx-log": log, "cairn/http-server": { port: 0 } });
}

async function ready(policies: object | undefined): Promise<CairnNode> {
  const node = await start(policies);
  await node.ready;
  return node;
}

describe("a bucket that is not a queue", () => {
  it("refuses an entry, and the hint says how the bucket becomes one", async () => {
    const client = (await ready(undefined)).client();
    const hint = expect.stringMatching(/an empty bucket a queue, add it to "queues".*setPolicies/);
    await expect(client.enqueue("jobs", "a", 1)).rejects.toMatchObject({ code: "CONFLICT", hint });
    const director = client.direct("jobs", { handle: () => undefined });
    await expect(director.done).rejects.toMatchObject({ code: "NOT_FOUND", hint });
    const { policies } = await client.policies();
    await client.setPolicies({ ...policies, queues: { ...policies.queues, jobs: QUEUE } });
    await client.enqueue("jobs", "a", 1);
  });
});

describe("a node whose configuration has policies", () => {
  it("is ready once they are in force, if its log has none", async () => {
    const client = (await ready(POLICIES)).client();
    await client.enqueue("jobs", "a", { n: 1 });
    expect(await client.queue("jobs")).toMatchObject({ open: 1 });
    expect(await client.page("pods", { where: "state:up" })).toMatchObject({ documents: [] });
    expect(await client.policies()).toEqual({ revision: 2, policies: POLICIES });
    expect(warned).toEqual([]);
  });

  it("is ready once they are in force, whatever the program does first", async () => {
    const client = (await ready(POLICIES)).client();
    await expect(client.put("jobs", "x", 1)).rejects.toMatchObject({ code: "CONFLICT" });
    await client.enqueue("jobs", "a", { n: 1 });
  });

  it("is ready once the fields that they index are complete", async () => {
    const first = await ready(undefined);
    const documents = Array.from({ length: 2_000 }, (_, n) => ({ key: `p${n}`, document: { state: "up" } }));
    await first.client().load("pods", documents);
    await first.close();
    const second = await ready(POLICIES);
    // Unlike a client's call, this one is not repeated.
    const page = await second.list({ bucket: "pods", where: { field: "state", value: "up" }, limit: 1 });
    expect(page.documents).toHaveLength(1);
  });

  it("is ready at once if the log has others, and reports that they differ", async () => {
    await (await ready(POLICIES)).close();
    const client = (await ready({ indexes: { pods: ["node"] } })).client();
    expect(await client.policies()).toEqual({ revision: 2, policies: POLICIES });
    expect(warned.map(({ msg }) => msg)).toEqual([
      expect.stringMatching(/differs from the policies of the log, which take precedence/),
    ]);
  });

  it("reports why the log refuses them, and proposes them again when it starts", async () => {
    const first = await ready(undefined);
    await first.client().put("jobs", "x", 1);
    await first.close();
    const second = await ready(POLICIES);
    expect(await second.client().policies()).toEqual({ revision: null, policies: {} });
    expect(warned).toMatchObject([
      {
        msg: expect.stringMatching(/refused.*jobs is not empty \(documents: 1/),
        hint: expect.stringMatching(/cairn\/policies.*restart.*cairn policy apply/),
      },
    ]);
    await second.close();
    const client = (await ready({ queues: { tasks: QUEUE } })).client();
    await client.enqueue("tasks", "a", { n: 1 });
    expect(warned).toHaveLength(1);
  });

  it("is ready although the log refuses all messages, and sets them once it takes some", async () => {
    const full = new CairnError("LOG_FULL", "The log accepts no more messages.", "Free some space.");
    const node = await refused(full);
    await node.ready;
    expect(await node.client().get("pods", "x")).toBeUndefined();
    expect(warned).toMatchObject([
      { code: "LOG_FULL", msg: expect.stringMatching(/policies.*try again/), hint: "Free some space." },
    ]);
    if (log !== undefined) log.refused = undefined;
    await expect.poll(async () => (await node.client().policies()).revision).not.toBeNull();
    await node.client().enqueue("jobs", "a", { n: 1 });
    expect(warned.filter(({ msg }) => msg.includes("policies"))).toHaveLength(1);
  });

  it(
    "is not ready while the log has not answered, but no longer than a few seconds",
    { tags: "rest/slow" },
    async () => {
      const node = await refused("silently");
      await expect.poll(() => node.phase).toBe("replaying");
      expect((await fetch(`${node.url}/health/ready`)).status).toBe(503);
      await node.ready;
      expect(warned).toMatchObject([{ code: "TX_TIMEOUT" }]);
      expect(await node.client().get("pods", "x")).toBeUndefined();
    },
  );

  it("can be closed at once while the log has not answered", async () => {
    const node = await refused("silently");
    await expect.poll(() => node.phase).toBe("replaying");
    const begun = performance.now();
    await node.close();
    expect(performance.now() - begun).toBeLessThan(2_000);
    await expect(node.ready).rejects.toMatchObject({ message: "The node was closed." });
    expect(warned).toEqual([]);
  });
});
