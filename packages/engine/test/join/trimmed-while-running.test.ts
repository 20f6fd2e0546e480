// @module-tag nats
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import type { System } from "../../src/api/system.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { NatsOperator, type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { Gate } from "./gate.ts";
import { readThrough } from "./read-through.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

let folder = "";
let nats: NatsTestServer;
let nodes: CairnNode[] = [];
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-trimmed-"));
  nats = await startNatsServer();
});
afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()));
  nodes = [];
  await nats.close();
  await rm(folder, { recursive: true, force: true });
});

const KEY = { bucket: "things", namespace: "default", name: "k0" };

interface Gates {
  /** The gate through which messages of the log pass. */
  readonly reading: Gate;
  /** The gate behind which archives of checkpoints are opened. */
  readonly restoring: Gate;
}

async function started(id: string, gates?: Gates): Promise<CairnNode> {
  const store = filesystemStore({ path: path.join(folder, "checkpoints") });
  const openTxLog: System["openTxLog"] = async ({ signal }) => {
    const log = await openNatsTxLog({ servers: [nats.url], signal });
    return gates === undefined ? log : readThrough(log, gates.reading);
  };
  const checkpointer = { store: gates === undefined ? store : openedBehind(store, gates.restoring) };
  const node = await runNode(quietSystem({ folder, nodeId: id, openTxLog, checkpointer }));
  nodes.push(node);
  await node.ready;
  return node;
}

function openedBehind(store: CheckpointStore, gate: Gate): CheckpointStore {
  const open: CheckpointStore["open"] = async (...args) => {
    await gate.passed();
    return await store.open(...args);
  };
  return { ...store, open };
}

describe("a slow node whose log is purged ahead of it", () => {
  it(
    "restores a newer checkpoint, is not ready until then, and serves only stale reads in the meantime",
    { tags: "rest/slow" },
    async () => {
      const a = await started("a");
      const gates = { reading: new Gate(), restoring: new Gate() };
      const { txId: first } = await a.submit({ ops: [["put", "things", "default/k0", "early"]] });
      await a.await(first);
      const b = await started("b", gates);
      gates.reading.close();
      // There are more messages than are fetched ahead, so the rest is only in the log.
      const submitted = await Promise.all(
        Array.from({ length: 6_000 }, (_, n) =>
          a.submit({ ops: [["put", "things", `default/k${n}`, "late"]] }),
        ),
      );
      const last = submitted.at(-1)?.txId ?? 0;
      await a.await(last);
      await saveCheckpoint(a);
      await NatsOperator.at(nats.url, async (operator) => await operator.purgeBefore(last));
      gates.restoring.close();
      gates.reading.open();

      await gates.restoring.reached();
      expect(b.phase).toBe("restoring");
      await expect(b.get(KEY)).rejects.toMatchObject({ code: "NOT_READY" });
      await expect(b.digest()).rejects.toMatchObject({ code: "NOT_READY" });
      expect(await b.get(KEY, { stale: true })).toBeDefined();
      const { txId: tail } = await a.submit({ ops: [["put", "things", "default/tail", 1]] });
      gates.restoring.open();

      await vi.waitFor(() => expect(b.phase).toBe("ready"), { timeout: 30_000 });
      await Promise.all([a.await(tail), b.await(tail)]);
      const { join } = await b.status();
      expect(join.restoredFrom).toMatchObject({ txId: last });
      expect(join.movedAside).toMatchObject([{ code: "LOG_TRIMMED" }]);
      expect(await b.digest()).toEqual(await a.digest());
    },
  );
});
