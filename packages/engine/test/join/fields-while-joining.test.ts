import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { TxOperation } from "@cairn/client";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { Gate } from "./gate.ts";
import { readThrough } from "./read-through.ts";

const DOCUMENTS = 10_000;
/** Few, so that the log has more transactions than a node reads at once. */
const EACH = 10;
const STATES = ["running", "done"];

let folder = "";
let node: CairnNode | undefined;
let gate = new Gate();
beforeEach(async () => {
  gate = new Gate();
  folder = await mkdtemp(path.join(tmpdir(), "cairn-join-fields-"));
});
afterEach(async () => {
  // A node that waits at the gate cannot close.
  gate.open();
  await node?.close();
  node = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Starts a node from which the log's last message is withheld. */
async function start(last: number): Promise<CairnNode> {
  const openTxLog = async () =>
    readThrough(await openEmbeddedTxLog({ path: path.join(folder, "log") }), gate, (messages) =>
      messages.some(({ position }) => position >= last),
    );
  return await runNode(quietSystem({ folder, nodeId: "n", openTxLog }));
}

it(
  "a node builds the fields defined by the replayed tail after it has caught up, and before it is ready",
  { tags: "rest/slow" },
  async () => {
    node = await start(Number.POSITIVE_INFINITY);
    await node.ready;
    await node.submit({ ops: [["configure", { indexes: { jobs: ["state"] } }]] });
    const submitted: Promise<unknown>[] = [];
    for (let from = 0; from < DOCUMENTS; from += EACH) {
      const ops = Array.from({ length: EACH }, (_, n): TxOperation => {
        const state = STATES[n % STATES.length] ?? "";
        return ["put", "jobs", `default/${String(from + n).padStart(6, "0")}`, { state }];
      });
      submitted.push(node.submit({ ops }));
    }
    await Promise.all(submitted);
    const { txId: last } = await node.submit({ ops: [["put", "jobs", "default/000000", { state: "done" }]] });
    await node.await(last);
    const digest = await node.digest();
    await node.close();
    await rm(path.join(folder, "n-index"), { recursive: true });

    gate.close();
    const joining = (node = await start(last));
    await gate.reached();
    const counts = async (stale: boolean) => (await joining.buckets({ stale })).buckets[0]?.fields["state"];
    await vi.waitFor(async () => expect((await joining.status()).join.replayed).toBeGreaterThan(2));
    expect(await joining.status()).toMatchObject({ phase: "replaying", progress: { unit: "transactions" } });
    expect(await counts(true)).toMatchObject({ counts: null });

    const units = new Set<string | undefined>();
    const told = setInterval(() => {
      void joining.status().then(({ progress }) => units.add(progress?.unit));
    }, 1);
    gate.open();
    await joining.ready;
    clearInterval(told);
    const half = DOCUMENTS / 2;
    expect(await counts(false)).toEqual({ counts: { running: half - 1, done: half + 1 }, more: false });
    const running = { bucket: "jobs", limit: 2, where: { field: "state", value: "running" } };
    expect((await joining.list(running)).documents.map(({ name }) => name)).toEqual(["000002", "000004"]);
    expect(units).toContain("documents");
    expect(await joining.digest()).toEqual(digest);
  },
);
