// @module-tag nats
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "@cairn/engine";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";

const JOBS = { shards: 1, cap: 9, terminal: { state: ["done"] }, lease: "PT30S" };
const KEY = { bucket: "things", namespace: "default", name: "k0" };

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

/** Writes the document. Returns its revision once `node` has it. */
async function write(node: CairnNode, value: unknown): Promise<number> {
  const { txId } = await node.submit({ ops: [["put", "things", "default/k0", value as string]] });
  return txId;
}

describe("a read as of a transaction that the node does not have", () => {
  it("is refused immediately with the end of the log if the log does not have it either", async () => {
    const { node } = await scene.withheld("b");
    const last = await write(node, "x");
    await node.await(last);
    const refused = {
      code: "REQUEST_INVALID",
      message: `Transaction ${last + 1} does not exist yet: the log ends at ${last}.`,
    };
    const asOf = { txId: last + 1 };
    // Otherwise it would wait for half a minute.
    await expect(node.get(KEY, { asOf })).rejects.toMatchObject(refused);
    await expect(node.list({ bucket: "things", asOf })).rejects.toMatchObject(refused);
    await expect(node.get(KEY, { asOf, stale: true })).rejects.toMatchObject(refused);
    const answer = await fetch(`${node.url}/api/v1/things/k0?as-of=${last + 1}`);
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: refused }]);
    // A barrier is the log's last transaction.
    await expect(node.get(KEY, { asOf: { txId: last + 9 }, linearizable: true })).rejects.toMatchObject({
      code: "REQUEST_INVALID",
    });
  });

  it("waits if it uses the parameters of the hint, and succeeds when the transaction is written", async () => {
    const { node } = await scene.withheld("b");
    const last = await write(node, "x");
    await node.await(last);
    const hint = await node.get(KEY, { asOf: { txId: last + 1 } }).then(
      () => "",
      (error: { hint: string }) => error.hint,
    );
    const told = /min-tx=\d+/.exec(hint)?.[0];
    const ask = (timeout: string): Promise<Response> =>
      fetch(`${node.url}/api/v1/things/k0?as-of=${last + 1}&${told}&timeout=${timeout}`);
    const late = await ask("PT0.1S");
    expect([late.status, await late.json()]).toMatchObject([
      504,
      { error: { code: "TX_TIMEOUT", message: expect.stringContaining(`has indexed up to ${last}.`) } },
    ]);
    const waiting = ask("PT30S");
    await write(node, "y");
    expect(await (await waiting).json()).toBe("y");
  });

  it("succeeds once the node has caught up, if the log has it", async () => {
    const writer = await scene.ready("a");
    const { node, faults } = await scene.withheld("b");
    const first = await write(writer, "x");
    await node.await(first);
    faults.stalled = true;
    const next = await write(writer, "y");
    await writer.await(next);
    await expect(node.get(KEY, { asOf: { txId: next }, timeoutMs: 100 })).rejects.toMatchObject({
      code: "TX_TIMEOUT",
      message: `Transaction ${next} was not indexed in time; this node has indexed up to ${first}.`,
      hint: expect.stringContaining("compare the node's progress with the end of the log"),
    });
    const waiting = node.get(KEY, { asOf: { txId: next } });
    faults.stalled = false;
    expect(await waiting).toMatchObject({ revision: next });
  });

  it("waits until its timeout if the log does not report its end", async () => {
    const { node } = await scene.withheld("b");
    const last = await write(node, "x");
    await node.await(last);
    scene.nats.freeze();
    // A busy system may take a while to stop a process.
    await vi.waitFor(async () => {
      const ahead = node.get(KEY, { asOf: { txId: last + 1 }, timeoutMs: 200 });
      await expect(ahead).rejects.toMatchObject({
        code: "TX_TIMEOUT",
        message: `Transaction ${last + 1} was not indexed in time; this node has indexed up to ${last}.`,
      });
    });
    scene.nats.thaw();
  });
});

it("continues a list only once the node has the transaction at which the list began", async () => {
  const ahead = await scene.ready("a");
  await put(ahead, 0, 3, "old");
  const { node: behind, faults } = await scene.withheld("b");
  faults.stalled = true;
  await put(ahead, 1, 2, "new");
  const { cursor = "", txId } = await ahead.list({ bucket: "things", limit: 1 });
  const early = behind.list({ bucket: "things", cursor, timeoutMs: 10 });
  await expect(early).rejects.toMatchObject({ code: "TX_TIMEOUT" });
  const waiting = behind.list({ bucket: "things", cursor });
  await put(ahead, 1, 2, "newer");
  faults.stalled = false;
  const page = await waiting;
  expect([page.txId, page.documents.map(({ json }) => json)]).toEqual([txId, ['"new"', '"old"']]);
});

it(
  "continues every other list once it has the transactions of the page before",
  { tags: "rest/slow" },
  async () => {
    const ahead = await scene.ready("a", {
      parts: { http: { host: "127.0.0.1", port: 0, maxBody: 1_000_000 } },
    });
    const { node: behind, faults } = await scene.withheld("b");
    const evicted = ["0", "1"].map((name) => ["put", "gone", name, {}] as const);
    const { txId: begin } = await ahead.submit({
      ops: [["configure", { queues: { jobs: JOBS } }], ...evicted],
    });
    await behind.await(begin);
    faults.stalled = true;
    for (const name of ["0", "1"]) {
      const entry = ["enqueue", "jobs", name, {}] as const;
      const event = ["event", { object: "o", reason: name }] as const;
      await ahead.submit({ ops: [entry, event, ["put", "things", "k0", name], ["evict", "gone", name]] });
    }
    await ahead.await(await write(ahead, "2"));
    const lists = [
      "/api/v1/queues/jobs/shards/0/open",
      "/api/v1/events",
      "/api/v1/things/k0?history=true",
      "/api/v1/tx/evictions",
    ];
    // The first page of each list is of a node that is ahead, and its link is followed to the one that lags.
    const links = await Promise.all(
      lists.map(async (list) => {
        const { headers } = await fetch(`${ahead.url}${list}${list.includes("?") ? "&" : "?"}limit=1`);
        return /<(.*)>/.exec(headers.get("link") ?? "")?.[1] ?? "";
      }),
    );
    const next = async (link: string, timeout: string): Promise<[number, string]> => {
      const answer = await fetch(`${behind.url}${link}&timeout=${timeout}`);
      return [answer.status, await answer.text()];
    };
    for (const link of links)
      expect(await next(link, "PT0.01S")).toEqual([504, expect.stringContaining("TX_TIMEOUT")]);
    const waiting = Promise.all(links.map((link) => next(link, "PT30S")));
    faults.stalled = false;
    const pages = await waiting;
    expect(pages.map(([status]) => status)).toEqual([200, 200, 200, 200]);
    expect(pages.map(([, text]) => JSON.parse(text) as unknown)).toMatchObject([
      [{ name: "1" }],
      [{ reason: "0" }],
      [{ document: "1" }],
      [{ name: "0" }],
    ]);
  },
);
