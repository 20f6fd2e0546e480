import { open, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { NatsOperator } from "@cairn/log-nats/testing";
import { framed } from "@cairn/test-support/framed-message";
import type { Picks } from "@cairn/test-support/seeded-random";
import { type NemesisCluster, NODES } from "./nemesis-cluster.ts";

/** One occurrence of a fault. */
interface Occurrence {
  readonly cluster: NemesisCluster;
  /** The affected node, for faults that affect a single node. */
  readonly node: number;
  readonly durationMs: number;
  readonly picks: Picks;
}

/** A fault of a cluster. Faults with the same target never happen concurrently, and each undoes its effect before it ends. */
export interface Fault {
  readonly target: (node: number) => string;
  readonly inject: (occurrence: Occurrence) => Promise<void>;
}

/**
 * The number of bytes at the end of a damaged table that are changed. Every reader needs these bytes. A byte that is
 * changed elsewhere may hide a row until the node scrubs its tables.
 */
const TABLE_END_BYTES = 4_096;
const SETTLED_WITHIN_MS = 60_000;

const nodeTarget = (node: number): string => `node ${node}`;
/** Returns a single target for all nodes: with a trimmed log and damaged checkpoints, only other nodes may have what an index lost. */
const indexTarget = (): string => "an index";
const serverTarget = (): string => "the server";
const checkpointsTarget = (): string => "the checkpoints";

/** Every fault by its name. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  "node killed": {
    target: nodeTarget,
    inject: async ({ cluster, node, durationMs }) => {
      await cluster.kill(node);
      await delay(durationMs / 2);
      await cluster.start(node);
    },
  },
  "node stopped and continued": {
    target: nodeTarget,
    inject: async ({ cluster, node, durationMs }) => {
      const stopped = cluster.node(node);
      stopped.signal("SIGSTOP");
      await delay(durationMs);
      stopped.signal("SIGCONT");
    },
  },
  "node lost its index": {
    target: indexTarget,
    inject: async ({ cluster, node }) => {
      await cluster.kill(node);
      await rm(cluster.index(node), { recursive: true, force: true });
      await cluster.start(node);
      await waitUntilSettled(cluster, node);
    },
  },
  "index damaged": {
    target: indexTarget,
    inject: async ({ cluster, node, picks }) => {
      await cluster.kill(node);
      await damageIndex(path.join(cluster.index(node), "live"), picks);
      await cluster.start(node);
      await waitUntilSettled(cluster, node);
    },
  },
  "server killed": {
    target: serverTarget,
    inject: async ({ cluster: { nats }, durationMs }) => {
      await nats.kill();
      await delay(durationMs / 2);
      await nats.start();
    },
  },
  "server paused": {
    target: serverTarget,
    inject: async ({ cluster: { nats }, durationMs }) => {
      nats.freeze();
      await delay(durationMs);
      nats.thaw();
    },
  },
  "foreign messages": { target: serverTarget, inject: publishForeign },
  "checkpoints away": {
    target: checkpointsTarget,
    inject: async ({ cluster, durationMs }) => {
      const bringBack = await cluster.hideCheckpoints();
      await delay(durationMs);
      await bringBack();
    },
  },
  "checkpoint damaged": { target: checkpointsTarget, inject: damageCheckpoint },
  "disk full": {
    target: () => nodeTarget(NODES - 1),
    inject: async ({ cluster, durationMs }) => {
      const free = await cluster.fillDisk();
      await delay(durationMs);
      await free();
    },
  },
};

/**
 * Waits until a node is ready, has failed or has exited. That may take until its server and its checkpoints are
 * available again.
 */
async function waitUntilSettled(cluster: NemesisCluster, number: number): Promise<void> {
  const deadline = Date.now() + SETTLED_WITHIN_MS;
  while (Date.now() < deadline) {
    const node = cluster.node(number);
    if (node.exited) return;
    const status = await node.status().catch(() => undefined);
    if (status?.phase === "ready" || status?.phase === "failed") return;
    await delay(50);
  }
}

async function damageIndex(live: string, picks: Picks): Promise<void> {
  // A node that was killed while it rebuilt its index may have none.
  const files = await readdir(live).catch(() => []);
  const names = files.filter((name) => /^(MANIFEST|CURRENT$)|\.(log|ldb)$/.test(name));
  const [first = "CURRENT", ...rest] = names.toSorted();
  const name = picks.of([first, ...rest]);
  await damageFile(path.join(live, name), picks, name.endsWith(".ldb") ? TABLE_END_BYTES : 1);
}

async function damageCheckpoint({ cluster, picks }: Occurrence): Promise<void> {
  const archives = (await readdir(cluster.checkpoints).catch(() => [])).filter((name) =>
    name.endsWith(".tar"),
  );
  // One checkpoint must remain for restores.
  const [first, second, ...rest] = archives.toSorted();
  if (first === undefined || second === undefined) return;
  await damageFile(path.join(cluster.checkpoints, picks.of([first, second, ...rest])), picks, 1);
}

/** Changes one byte anywhere in a file or, if `bytes` is more than 1, all of the file's last `bytes`. */
async function damageFile(file: string, picks: Picks, bytes: number): Promise<void> {
  const handle = await open(file, "r+").catch(() => undefined);
  // Retention or compaction may have removed the file.
  if (handle === undefined) return;
  try {
    const { size } = await handle.stat();
    const offset = bytes > 1 ? Math.max(0, size - bytes) : picks.below(Math.max(1, size));
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, offset);
    const changed = buffer.subarray(0, bytesRead).map((byte) => byte ^ (1 + picks.below(255)));
    await handle.write(changed, 0, changed.length, offset);
  } finally {
    await handle.close();
  }
}

/** Publishes messages that no node would write. */
async function publishForeign({ cluster, picks }: Occurrence): Promise<void> {
  const body = '{"ops":[["put","things","default/k1"]]}\n"foreign"';
  const birth = JSON.stringify({ birth: { log: "another", offset: 7 } });
  const messages: [Uint8Array, ...Uint8Array[]] = [
    Buffer.from("hello"),
    Buffer.from(Array.from({ length: 200 }, () => picks.below(256))),
    Buffer.from(framed(cluster.logId, body)).fill("0", 8, 16),
    framed("another log", body),
    framed(cluster.logId, birth),
  ];
  await NatsOperator.at(cluster.nats.url, async (operator) => {
    for (let count = 1 + picks.below(5); count > 0; count -= 1) {
      // Some messages use the id of a transaction that a client will send later.
      const id = picks.next() < 0.5 ? undefined : `id-${picks.below(6)}-${picks.below(500)}`;
      await operator.publish(picks.of(messages), id);
    }
  });
}
