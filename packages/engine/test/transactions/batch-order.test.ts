import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type KvProvider, levelProvider } from "@cairn/kv";
import { expect, it, onTestFinished } from "vitest";
import { openEmbeddedTxLog } from "@cairn/engine";
import { ROW } from "../../src/index/rows/row-keys.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { runNode } from "@cairn/node";

const LINES = 1_000;

/** Returns LevelDB whose reads of idempotency ids end in an order of their own, as those of a large index on a disk do. */
function unordered(): KvProvider {
  const level = levelProvider();
  return {
    ...level,
    open: async (...where) => {
      const store = await level.open(...where);
      const get = store.get.bind(store);
      store.get = (key) =>
        key[0] === ROW.submission ? delay(Math.random() * 20).then(async () => await get(key)) : get(key);
      return store;
    },
  };
}

function line(n: number, id?: string): unknown {
  return { id, ops: [["put", "b", "default/a", n]] };
}

async function startNode() {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-batch-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  const http = { host: "127.0.0.1", port: 0, maxBody: 1_000_000 };
  const system = quietSystem({ folder, nodeId: "n", openTxLog });
  const node = await runNode({ ...system, kvProvider: unordered(), http });
  onTestFinished(() => node.close());
  await node.ready;
  const post = async (lines: readonly unknown[]): Promise<Record<string, unknown>> => {
    const body = lines.map((each) => `${JSON.stringify(each)}\n`).join("");
    const headers = { "content-type": "application/x-ndjson" };
    const answer = await fetch(`${node.url}/api/v1/tx/batch?await=true`, { method: "POST", headers, body });
    return (await answer.json()) as Record<string, unknown>;
  };
  /** The values that a document has had, oldest first. */
  const values = async (name: string): Promise<unknown[]> => {
    const { versions } = await node.history({ bucket: "b", namespace: "default", name }, { limit: LINES });
    return versions.map(({ json }) => JSON.parse(json ?? "null") as unknown).toReversed();
  };
  return { post, values };
}

it("the lines of a batch are stored in their order, however long their ids are looked for", async () => {
  const { post, values } = await startNode();
  const numbers = Array.from({ length: LINES }, (_, n) => n);
  const lines = numbers.map((n) => line(n, n % 5 === 0 ? undefined : `id-${n}`));
  expect(await post(lines)).toMatchObject({ accepted: LINES, lastTxId: LINES + 1 });
  expect(await values("a")).toEqual(numbers);
});

it("no line of a batch is stored behind one whose id has been used", async () => {
  const { post, values } = await startNode();
  await post([line(-1, "used")]);
  const lines = Array.from({ length: 50 }, (_, n) => line(n, n === 20 ? "used" : `id-${n}`));
  expect(await post(lines)).toMatchObject({
    error: { code: "CONFLICT" },
    line: 21,
    accepted: 20,
    acceptedAfter: 0,
  });
  expect(await values("a")).toEqual([-1, ...Array.from({ length: 20 }, (_, n) => n)]);
});
