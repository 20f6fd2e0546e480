import { open, readdir, rm } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { NatsOperator } from "@cairn/node/testing";
import { framed } from "../support/framed-message.ts";
import type { Picks } from "../support/seeded-random.ts";
import { type NemesisCluster, NODES } from "./nemesis-cluster.ts";

/** One time that a fault happens. */
interface Occurrence {
  readonly cluster: NemesisCluster;
  /** The node that it is about, where it is about one. */
  readonly node: number;
  readonly lastMs: number;
  readonly picks: Picks;
}

/** What happens to a cluster. Faults about one thing never happen at once; each ends with everything as it was before it. */
export interface Fault {
  readonly about: (node: number) => string;
  readonly happen: (occurrence: Occurrence) => Promise<void>;
}

/** A byte that is changed in a table may hide a row until the node compares its tables, so tables lose what no reader can do without. */
const TABLE_END = 4_096;
const REPAIRED_WITHIN_MS = 60_000;

const aNode = (node: number): string => `node ${node}`;
/** One node alone is without an index at a time: with a trimmed log and damaged checkpoints the others have what it lost. */
const anIndex = (): string => "an index";
const theServer = (): string => "the server";
const theCheckpoints = (): string => "the checkpoints";

/** Every fault by its name. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  "node killed": {
    about: aNode,
    happen: async ({ cluster, node, lastMs }) => {
      await cluster.kill(node);
      await delay(lastMs / 2);
      await cluster.start(node);
    },
  },
  "node stopped and continued": {
    about: aNode,
    happen: async ({ cluster, node, lastMs }) => {
      const stopped = cluster.node(node);
      stopped.signal("SIGSTOP");
      await delay(lastMs);
      stopped.signal("SIGCONT");
    },
  },
  "node lost its index": {
    about: anIndex,
    happen: async ({ cluster, node }) => {
      await cluster.kill(node);
      await rm(cluster.index(node), { recursive: true, force: true });
      await cluster.start(node);
      await repaired(cluster, node);
    },
  },
  "index damaged": {
    about: anIndex,
    happen: async ({ cluster, node, picks }) => {
      await cluster.kill(node);
      await damageIndex(path.join(cluster.index(node), "live"), picks);
      await cluster.start(node);
      await repaired(cluster, node);
    },
  },
  "server killed": {
    about: theServer,
    happen: async ({ cluster: { nats }, lastMs }) => {
      await nats.kill();
      await delay(lastMs / 2);
      await nats.start();
    },
  },
  "server paused": {
    about: theServer,
    happen: async ({ cluster: { nats }, lastMs }) => {
      nats.freeze();
      await delay(lastMs);
      nats.thaw();
    },
  },
  "foreign messages": { about: theServer, happen: publishForeign },
  "checkpoints away": {
    about: theCheckpoints,
    happen: async ({ cluster, lastMs }) => {
      const bringBack = await cluster.hideCheckpoints();
      await delay(lastMs);
      await bringBack();
    },
  },
  "checkpoint damaged": { about: theCheckpoints, happen: damageCheckpoint },
  "disk full": {
    about: () => aNode(NODES - 1),
    happen: async ({ cluster, lastMs }) => {
      const free = await cluster.fillDisk();
      await delay(lastMs);
      await free();
    },
  },
};

/** Waits until a node is ready again, halted or ended: with its server or its checkpoints away that may take until they are back. */
async function repaired(cluster: NemesisCluster, number: number): Promise<void> {
  const deadline = Date.now() + REPAIRED_WITHIN_MS;
  while (Date.now() < deadline) {
    const node = cluster.node(number);
    if (node.exited) return;
    const status = await node.status().catch(() => undefined);
    if (status?.phase === "ready" || status?.phase === "failed") return;
    await delay(50);
  }
}

async function damageIndex(live: string, picks: Picks): Promise<void> {
  // A node that is killed while it builds its index anew may have none.
  const files = await readdir(live).catch(() => []);
  const names = files.filter((name) => /^(MANIFEST|CURRENT$)|\.(log|ldb)$/.test(name));
  const [first = "CURRENT", ...rest] = names.toSorted();
  const name = picks.of([first, ...rest]);
  await change(path.join(live, name), picks, name.endsWith(".ldb") ? TABLE_END : 1);
}

async function damageCheckpoint({ cluster, picks }: Occurrence): Promise<void> {
  const archives = (await readdir(cluster.checkpoints).catch(() => [])).filter((name) =>
    name.endsWith(".tar"),
  );
  // Something is left to restore from.
  const [first, second, ...rest] = archives.toSorted();
  if (first === undefined || second === undefined) return;
  await change(path.join(cluster.checkpoints, picks.of([first, second, ...rest])), picks, 1);
}

/** Changes a byte anywhere, or the last ones. */
async function change(file: string, picks: Picks, bytes: number): Promise<void> {
  const handle = await open(file, "r+").catch(() => undefined);
  // Retention and compaction remove files as they like.
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

/** What whoever may publish to the subject can send; the server is up, but may be on its way to be. */
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
      // Sometimes under the id of a transaction that a client has yet to send.
      const id = picks.next() < 0.5 ? undefined : `id-${picks.below(6)}-${picks.below(500)}`;
      await operator.publish(picks.of(messages), id);
    }
  });
}
