import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type NatsTestServer, startNatsServer } from "@cairn/log-nats/testing";
import { certify, setDisk } from "./faults.ts";
import { NightNode } from "./night-node.ts";

/** The names of the nodes. */
export const NODES = ["a", "b", "lagging", "full", "edge", "still"] as const;
export type NodeName = (typeof NODES)[number];

/** The nodes of a night, with their logs and stores. */
export interface NightCluster extends Readonly<Record<NodeName, NightNode>> {
  readonly folder: string;
  /** The store of a, b and lagging, which also share the log of `nats`. */
  readonly store: string;
  readonly nats: NatsTestServer;
  /** The log of `full` alone, which has no store. */
  readonly smallNats: NatsTestServer;
  /** The disks of edge and lagging. */
  readonly disks: { readonly edge: string; readonly lagging: string };
  readonly nodes: readonly NightNode[];
  close(): Promise<void>;
}

/** Returns the index store of a node that saves into a folder. */
export function saving(path: string, every: string): object {
  const store = {
    "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
    path,
    "shared-store": true,
  };
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store,
    "approx-frequency": every,
    ...(every === "PT5S" && { "verify-every": "PT10S" }),
    "retention-policy": { "retain-at-least": 2 },
    "log-backup": { every: "PT5S" },
  };
  return { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } };
}

export const onNats = ({ url }: NatsTestServer): object => ({
  "cairn/module": "cairn.nats/->tx-log",
  servers: [url],
});

/** The disks that {@link startNightCluster} mounts in its folder. */
export const disksIn = (folder: string): NightCluster["disks"] => ({
  edge: join(folder, "disk-of-edge"),
  lagging: join(folder, "disk-of-lagging"),
});

export async function startNightCluster(folder: string): Promise<NightCluster> {
  const disks = disksIn(folder);
  for (const disk of Object.values(disks)) {
    await mkdir(disk);
    setDisk(disk, 400, false);
  }
  const limits = join(folder, "nats.conf");
  await writeFile(limits, "jetstream { max_file_store: 3MB }\n");
  const nats = await startNatsServer({ storeDir: join(folder, "nats") });
  const smallNats = await startNatsServer({ storeDir: join(folder, "small-nats"), args: ["-c", limits] });
  const store = join(folder, "store");
  const shared = { "cairn/tx-log": onNats(nats), "cairn/index-store": saving(store, "PT5S") };
  const tls = { cert: join(folder, "cert.pem"), key: join(folder, "key.pem") };
  const tokens = { metrics: { file: join(folder, "tokens"), rights: ["observe"] } };
  certify(folder, 90);
  await writeFile(tokens.metrics.file, "first\n");
  const [a, b, lagging, full, edge, still] = await Promise.all([
    NightNode.start("a", folder, shared),
    NightNode.start("b", folder, shared),
    NightNode.start("lagging", disks.lagging, { "cairn/tx-log": onNats(nats) }),
    NightNode.start("full", folder, { "cairn/tx-log": onNats(smallNats) }),
    NightNode.start("edge", disks.edge, { "cairn/http-server": { tls, tokens } }),
    // It saves rarely, so that a damaged checkpoint is not replaced at once.
    NightNode.start("still", folder, {
      "cairn/index-store": saving(join(folder, "still", "store"), "PT1H"),
    }),
  ]);
  const nodes = [a, b, lagging, full, edge, still];
  return {
    folder,
    store,
    nats,
    smallNats,
    disks,
    nodes,
    a,
    b,
    lagging,
    full,
    edge,
    still,
    close: async () => {
      await Promise.all(nodes.map((node) => node.kill()));
      await Promise.all([nats.close(), smallNats.close()]);
    },
  };
}
