import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { NatsOperator } from "@cairn/log-nats/testing";
import {
  backupIn,
  certify,
  damage,
  fillDisk,
  holdLeases,
  keepFile,
  keepMessages,
  oldestFirst,
  otherHistory,
  save,
  setDisk,
  slowCalls,
} from "./faults.ts";
import { type NightCluster, type NodeName, onNats, saving } from "./night-cluster.ts";
import { NightNode } from "./night-node.ts";

/** An alert that a fault must raise. What is undefined may be anything. */
export interface Expected {
  readonly alert: string;
  readonly code?: string;
  readonly on?: NodeName;
  /** How long the fault may take to be a finding, if that is unusually long (s). */
  readonly noticedWithinS?: number;
}

/** A fault, the alerts that it must raise, and what withdraws them. */
export interface Drill {
  readonly alerts: readonly Expected[];
  readonly fault: string;
  /** Returns what ends the fault. */
  readonly begin: (night: NightCluster) => Promise<() => Promise<unknown> | void>;
  readonly cure: string;
}

const attention = (code: string, on?: NodeName): Expected => ({
  alert: "CairnAttention",
  code,
  ...(on && { on }),
});
const failing = (code: string, on: NodeName): Expected => ({ alert: "CairnFailing", code, on });
const notice = (code: string, on: NodeName): Expected => ({ alert: "CairnNotice", code, on });

const indexOf = (node: NightNode): string => join(node.folder, `${node.id}-index`);

/** Faults of two nodes that share a log and a store. They follow one another. */
const OF_THE_PAIR: readonly Drill[] = [
  {
    alerts: [{ alert: "CairnNodeDown", on: "b" }],
    fault: "SIGKILL of a node",
    begin: async ({ b }) => {
      await b.kill();
      return async () => await b.start();
    },
    cure: "it is started",
  },
  {
    alerts: [attention("stores-differ")],
    fault: "a third node saves into another folder",
    begin: async ({ folder, nats }) => {
      const third = await NightNode.start("third", folder, {
        "cairn/tx-log": onNats(nats),
        "cairn/index-store": saving(join(folder, "third", "store"), "PT5S"),
      });
      return async () => await third.stop();
    },
    cure: "it is stopped",
  },
  {
    alerts: [
      attention("checkpoint-failing"),
      attention("log-backup-failing"),
      { alert: "CairnVerificationOld", on: "a" },
    ],
    fault: "the store's folder is replaced by a file",
    begin: async ({ store }) => {
      await rename(store, `${store}.away`);
      await writeFile(store, "");
      return async () => {
        await rm(store);
        await rename(`${store}.away`, store);
      };
    },
    cure: "the folder is back",
  },
  {
    alerts: [attention("log-backup-damaged", "a")],
    fault: "the oldest segment is damaged, and a node is restarted",
    begin: async ({ a, store }) => {
      const [oldest = ""] = await oldestFirst((await backupIn(store)).folder, ".segment");
      await damage(oldest);
      await a.restart();
      return async () => await rm(oldest);
    },
    cure: "it is removed",
  },
  {
    alerts: [
      attention("log-backup-behind"),
      // The finding begins after 2.2 periods and a minute, which is not divided.
      { ...attention("checkpoint-overdue"), noticedWithinS: 100 },
    ],
    fault: "a node that hangs keeps the leases",
    begin: async ({ store }) => {
      const leases = await holdLeases(store);
      return async () => {
        await leases.stop();
        await rm(join(store, `in-progress-${(await backupIn(store)).logId}.json`), { force: true });
      };
    },
    cure: "it no longer does",
  },
  {
    alerts: [{ alert: "CairnSweepFailing" }],
    fault: "a file of the oldest checkpoint cannot be removed",
    begin: async ({ store }) => keepFile((await oldestFirst(store, ".tar"))[0] ?? ""),
    cure: "it can be removed",
  },
  {
    alerts: [
      failing("log-unreachable", "a"),
      attention("node-interrupted", "b"),
      { alert: "CairnNodeNotReady", on: "b" },
    ],
    fault: "SIGKILL of nats-server, and a node is restarted",
    begin: async ({ b, nats }) => {
      await nats.kill();
      await b.restart();
      return async () => await nats.start();
    },
    cure: "nats-server is started",
  },
];

/** Faults of a node whose log is too small. They follow one another, and the last ones leave it without its beginning. */
const OF_A_LOG: readonly Drill[] = [
  {
    alerts: [attention("transactions-lost", "full"), notice("index-moved-aside", "full")],
    fault: "nats-server continues with an older copy of its store",
    begin: async ({ full, smallNats }) => {
      const restore = await keepMessages(smallNats);
      for (const key of ["x", "y", "z"]) await full.ask("PUT", `/api/v1/things/${key}?timeout=PT30S`, "1");
      await restore();
      return async () => {
        await writeFile(join(full.folder, "lost"), await full.cairn("log", "orphans"));
        await full.cairn("load", join(full.folder, "lost"));
        await full.restart();
      };
    },
    cure: "the lost transactions are loaded, and the node is restarted",
  },
  {
    alerts: [attention("log-at-risk", "full")],
    fault: "the stream gets a max_age",
    begin: async ({ smallNats }) => {
      const edit = async (max_age: number): Promise<void> =>
        await NatsOperator.at(smallNats.url, async (operator) => await operator.edit({ max_age }));
      await edit(24 * 3_600 * 1e9);
      return async () => await edit(0);
    },
    cure: "it has none",
  },
  {
    alerts: [failing("writes-refused", "full")],
    fault: "max_file_store is reached",
    begin: async ({ full, smallNats }) => {
      const text = JSON.stringify({ text: "x".repeat(200_000) });
      for (let status = 200; status !== 507;) {
        const answer = await full.send("PUT", "/api/v1/things/large", text);
        await answer.text();
        ({ status } = answer);
      }
      return async () =>
        await NatsOperator.at(smallNats.url, async (operator) => await operator.purgeBefore(10));
    },
    cure: "old messages are removed",
  },
  {
    alerts: [failing("histories-differ", "full")],
    fault: "a node announces another history, and the log lacks its beginning",
    begin: async ({ full, smallNats }) => await otherHistory(full, smallNats),
    cure: "it announces the same",
  },
];

/** Faults of the other nodes. They follow one another. */
const OF_OTHERS: readonly Drill[] = [
  {
    alerts: [attention("same-node-id", "lagging")],
    fault: "another process has the node's id",
    begin: async ({ folder, nats }) => {
      const another = await NightNode.start("lagging", folder, { "cairn/tx-log": onNats(nats) });
      return async () => await another.stop();
    },
    cure: "it is stopped",
  },
  {
    // A node counts as stalled after 30 seconds, which are not divided.
    alerts: [
      { alert: "CairnLagGrowing", on: "lagging" },
      { ...failing("node-stalled", "lagging"), noticedWithinS: 75 },
    ],
    fault: "writes to its index take 100 s (strace), and another node writes",
    begin: async ({ a, lagging }) => {
      const [log = ""] = await oldestFirst(join(indexOf(lagging), "live"), ".log");
      const quicken = await slowCalls(lagging.pid, "write", log);
      const write = async (n: number): Promise<void> => {
        for (let at = 0; at < 100; at += 1) await a.ask("PUT", `/api/v1/things/lag${n * 100 + at}`, "1");
      };
      await Promise.all(Array.from({ length: 12 }, async (_, n) => await write(n)));
      return quicken;
    },
    cure: "they do not",
  },
  {
    alerts: [failing("node-failed", "lagging")],
    fault: "the disk of the index is full",
    begin: async ({ disks, lagging }) => {
      const empty = await fillDisk(disks.lagging);
      return async () => {
        await empty();
        await lagging.restart();
      };
    },
    cure: "it has space, and the node is restarted",
  },
  {
    alerts: [attention("disk-nearly-full", "edge")],
    fault: "the disk shrinks to 64 MB",
    begin: async ({ disks }) => {
      setDisk(disks.edge, 64, true);
      return () => setDisk(disks.edge, 400, true);
    },
    cure: "it has 400 MB again",
  },
  {
    alerts: [attention("index-files-missing", "still")],
    fault: "the index's folder is moved",
    begin: async ({ still }) => {
      const live = join(indexOf(still), "live");
      await rename(live, `${live}.away`);
      return async () => await rename(`${live}.away`, live);
    },
    cure: "it is back",
  },
  {
    alerts: [attention("connections-refused", "still")],
    fault: "the limit on open files is 256, and watches use what it leaves for them",
    begin: async ({ still }) => {
      await still.restart(256);
      await still.ready();
      const ending = new AbortController();
      for (let status = 200; status === 200;)
        ({ status } = await fetch(`${still.url}/api/v1/watch`, { signal: ending.signal }));
      return async () => {
        ending.abort();
        await still.restart();
      };
    },
    cure: "the node is restarted with the usual limit",
  },
  {
    alerts: [attention("checkpoint-unverified", "still"), notice("checkpoint-skipped", "still")],
    fault: "the newest checkpoint is damaged, and the node loses its index",
    begin: async ({ still }) => {
      // The one before is used, and is too recent for another one to be saved at once.
      await save(still);
      await save(still);
      await damage((await oldestFirst(join(still.folder, "store"), ".tar")).at(-1) ?? "");
      await still.kill();
      await rm(indexOf(still), { recursive: true });
      await still.start();
      await still.ready();
      const verify = async (): Promise<Response> =>
        await still.send("POST", "/api/v1/checkpoints/newest/verify");
      await verify();
      return async () => {
        await save(still);
        await verify();
      };
    },
    cure: "another checkpoint is saved and verified",
  },
  {
    alerts: [{ alert: "CairnCertificateEnds", on: "edge" }],
    fault: "the certificate ends in 2 days",
    begin: async ({ folder }) => {
      certify(folder, 2);
      return () => certify(folder, 90);
    },
    cure: "it is replaced",
  },
  {
    alerts: [attention("file-unusable", "edge")],
    fault: "the file of a token is moved",
    begin: async ({ folder }) => {
      const tokens = join(folder, "tokens");
      await rename(tokens, `${tokens}.away`);
      return async () => await rename(`${tokens}.away`, tokens);
    },
    cure: "it is back",
  },
];

/** All nodes are dead, which is not the same as no targets. */
const OF_ALL: readonly Drill[] = [
  {
    alerts: [{ alert: "CairnAllDown" }],
    fault: "SIGKILL of all nodes",
    begin: async ({ nodes }) => {
      await Promise.all(nodes.map(async (node) => await node.kill()));
      return async () => await Promise.all(nodes.map(async (node) => await node.start()));
    },
    cure: "they are started",
  },
];

/** The drills of a night: lists that run at the same time, and then the next ones. */
export const DRILLS: readonly (readonly (readonly Drill[])[])[] = [
  [OF_THE_PAIR, OF_A_LOG, OF_OTHERS],
  [OF_ALL],
];

/** The findings that no drill raises here, and why. The ordinary tests raise and end each of them. */
export const WITHOUT_DRILL: Readonly<Record<string, string>> = {
  "index-uncompared": "It needs an index that is damaged after it was moved aside.",
  "own-index-failed": "It needs a module of one's own that fails.",
  "certificate-ended": "CairnCertificateEnds has a drill with the same file.",
  "clock-wrong": "It needs a machine with a wrong clock.",
  "checkpoint-warning": "It lasts for four periods of approx-frequency after its cause has gone.",
  "different-log-accepted": "It is a setting.",
};
