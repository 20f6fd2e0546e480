import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pino } from "pino";
import { type CairnNode, filesystemStore, type NodeConfig, startNode } from "@cairn/node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let folder = "";
let lines: string[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-closing-"));
  lines = [];
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const POLICIES = {
  queues: { jobs: { shards: 4, cap: 100, terminal: { state: "done" }, lease: "PT5S" } },
} as const;
const FAULT = new Error("a fault of one's own");
function fail(): never {
  throw FAULT;
}
const CLOSED = { code: "NOT_READY", message: "The node was closed.", hint: /start a new one/ };

async function start(config: NodeConfig = {}): Promise<CairnNode> {
  const node = await startNode(
    { "cairn/node": { id: "a", dir: folder }, "cairn/http-server": null, ...config },
    { logger: pino({ level: "warn" }, { write: (line) => void lines.push(line) }), env: {}, cwd: folder },
  );
  await node.ready;
  return node;
}

describe("a node that is closed", () => {
  it("logs neither a warning nor an error if a watch ended, or a director was stopped, immediately before", async () => {
    for (const n of [1, 2, 3]) {
      await using node = await start();
      const client = node.client();
      const ending = new AbortController();
      const watched = (async () => {
        for await (const _ of client.watch({ bucket: "flags", signal: ending.signal }));
      })();
      await client.put("flags", "a", n);
      ending.abort();
      await watched;
    }
    for (const n of [1, 2, 3]) {
      await using node = await start();
      const client = node.client();
      await client.setPolicies(POLICIES);
      const director = client.direct("jobs", { handle: () => Promise.resolve({ state: "done" }) });
      await client.enqueue("jobs", `job-${n}`, { n });
      await director.stop();
    }
    expect(lines).toEqual([]);
  });

  it("says of a write that is stored that it is, so that nobody sends it again", async () => {
    const node = await start();
    const client = node.client();
    const names = Array.from({ length: 20 }, (_, n) => `flag-${n}`);
    const writing = Promise.allSettled(names.map((name) => client.put("flags", name, true)));
    await node.close();
    const answers = await writing;
    await using again = await start();
    for (const [n, answer] of answers.entries()) {
      const stored = await again.client().get("flags", names[n] ?? "");
      const txId =
        answer.status === "fulfilled"
          ? answer.value.txId
          : (answer.reason as { details: { txId?: number } }).details.txId;
      expect(stored?.revision).toBe(txId);
      if (answer.status === "fulfilled" || txId === undefined) continue;
      expect(answer.reason).toMatchObject({ code: "NOT_READY", hint: /Do not send .* await\(\d+\)/ });
      // The hint is followed.
      expect(await again.client().await(txId)).toMatchObject({ txId, committed: true });
    }
    expect(answers.some(({ status }) => status === "rejected")).toBe(true);
  });

  it.each([
    ["throws", fail, expect.objectContaining({ code: "STORE_UNREACHABLE", cause: FAULT }) as unknown],
    ["never ends", () => new Promise<void>(() => undefined), undefined],
  ])("leaves nothing locked although its store %s when it is closed", async (_, close, failure) => {
    const store = Object.assign(filesystemStore({ path: path.join(folder, "store") }), { close });
    const checkpointer = { store, "approx-frequency": "PT6H" };
    const node = await start({ "cairn/index-store": { "kv-store": { checkpointer } } });
    await node.client().put("flags", "a", 1);
    const ended = await node.close().catch((error: unknown) => error);
    expect(ended).toEqual(failure);
    await using again = await start();
    expect((await again.client().get("flags", "a"))?.document).toBe(1);
  });

  it("ends its watches and follows as closed, and refuses calls so, until another one is started", async () => {
    const node = await start();
    const client = node.client();
    let opened = 0;
    const open = (): void => void (opened += 1);
    const ends = [
      (async () => {
        for await (const _ of client.watch({ bucket: "flags", onPosition: open }));
      })(),
      (async () => {
        for await (const _ of client.follow({ bucket: "flags" })) open();
      })(),
    ].map(async (end) => await expect(end).rejects.toMatchObject(CLOSED));
    await expect.poll(() => opened).toBe(2);
    const closing = node.close();
    expect(() => client.direct("jobs", { handle: () => undefined })).toThrow("The node was closed.");
    await closing;
    await Promise.all(ends);
    await expect(client.get("flags", "a")).rejects.toMatchObject(CLOSED);
    await expect(client.put("flags", "c", 1)).rejects.toMatchObject(CLOSED);
    await expect(client.page("flags", {})).rejects.toMatchObject(CLOSED);
    await expect(node.checkpoints()).rejects.toMatchObject(CLOSED);
    await expect(node.verifyCheckpoint()).rejects.toMatchObject(CLOSED);
    expect(() => node.checkpoint()).toThrow("The node was closed.");
    await expect(node.digest()).rejects.toMatchObject(CLOSED);
    await expect(node.submit({ ops: [["put", "flags", "d", 1]] })).rejects.toMatchObject(CLOSED);
    await using next = await start();
    await next.client().put("flags", "b", 1);
    expect((await next.client().get("flags", "b"))?.document).toBe(1);
    expect(lines).toEqual([]);
  });
});
