import { spawnSync } from "node:child_process";
import { open, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { NatsOperator } from "@cairn/log-nats/testing";
import { createCheckpoint } from "@cairn/test-support/cairn-process";
import { certify, type NightCluster, type NightNode } from "./night-cluster.ts";
import type { FiringAlert } from "./prometheus.ts";

/** A fault, the alerts that it must raise, and what withdraws them. */
export interface Drill {
  /** What is undefined may be anything. */
  readonly alerts: readonly { alert: string; code?: string; instance?: string }[];
  readonly fault: string;
  readonly begin: () => Promise<unknown>;
  readonly cure: string;
  readonly end: () => Promise<unknown>;
}

export function isRaised({ alert, code, instance }: Drill["alerts"][number], firing: FiringAlert): boolean {
  return (
    alert === firing.alert &&
    (code === undefined || code === firing.code) &&
    (instance === undefined || instance === firing.instance)
  );
}

function mount(...args: readonly string[]): void {
  const { status, stderr } = spawnSync(args[0] ?? "", args.slice(1), { encoding: "utf8" });
  if (status !== 0) throw new Error(`${args.join(" ")}, which needs root: ${stderr}`);
}

/** Mounts the disk of the node with an embedded log, or changes its size. */
export function setDisk(path: string, megabytes: number, isMounted: boolean): void {
  mount("mount", "-t", "tmpfs", "-o", `${isMounted ? "remount," : ""}size=${megabytes}m`, "tmpfs", path);
}

/** Documents that are written all the time, so that there is something to save. */
export class SteadyWriter {
  readonly #cluster: NightCluster;
  readonly #over = new AbortController();
  readonly #done: Promise<void>;

  constructor(cluster: NightCluster) {
    this.#cluster = cluster;
    this.#done = this.#write();
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#done;
  }

  async #write(): Promise<void> {
    for (let n = 0; !this.#over.signal.aborted; n += 1) {
      for (const node of this.#cluster.pair) {
        // While a fault lasts, writes fail.
        const sent = node.send("PUT", `/api/v1/things/k${n % 100}?timeout=PT1S`, `{"n": ${n}}`);
        await sent.then((answer) => answer.text()).catch(() => {});
      }
      await delay(500);
    }
  }
}

async function archives(store: string): Promise<string[]> {
  const names = (await readdir(store)).filter((name) => name.endsWith(".tar"));
  const aged = await Promise.all(
    names.map(async (name) => ({
      path: join(store, name),
      age: (await stat(join(store, name))).mtimeMs,
    })),
  );
  return aged.toSorted((x, y) => x.age - y.age).map(({ path }) => path);
}

async function save(node: NightNode): Promise<void> {
  await node.ask("PUT", "/api/v1/things/saved", "1");
  await createCheckpoint(node.url);
}

/** Overwrites the middle third of a file. */
async function damage(path: string): Promise<void> {
  const file = await open(path, "r+");
  const third = Math.floor((await file.stat()).size / 3);
  await file.write(Buffer.alloc(third, 0xff), 0, third, third);
  await file.close();
}

/** Faults of two nodes that share a log and a store. They follow one another. */
export function pairDrills({ pair: [a, b], nats, store }: NightCluster): Drill[] {
  let held = "";
  return [
    {
      alerts: [{ alert: "CairnNodeDown", instance: b.address }],
      fault: "SIGKILL of a node",
      begin: () => b.kill(),
      cure: "it is started",
      end: () => b.start(),
    },
    {
      alerts: [
        { alert: "CairnFailing", code: "log-unreachable", instance: a.address },
        { alert: "CairnNodeNotReady", instance: b.address },
      ],
      fault: "SIGKILL of nats-server, and a node is restarted",
      begin: async () => {
        await nats.kill();
        await b.kill();
        await b.start();
      },
      cure: "nats-server is started",
      end: () => nats.start(),
    },
    {
      alerts: [
        { alert: "CairnAttention", code: "checkpoint-failing" },
        { alert: "CairnVerificationOld", instance: a.address },
      ],
      fault: "the store's folder is replaced by a file",
      begin: async () => {
        await rename(store, `${store}.away`);
        await writeFile(store, "");
      },
      cure: "the folder is back",
      end: async () => {
        await rm(store);
        await rename(`${store}.away`, store);
      },
    },
    {
      alerts: [{ alert: "CairnSweepFailing" }],
      fault: "a file of the oldest checkpoint cannot be removed",
      begin: async () => {
        [held = ""] = await archives(store);
        mount("mount", "--bind", held, held);
      },
      cure: "it can be removed",
      end: () => Promise.resolve(mount("umount", held)),
    },
  ];
}

/** Faults of the other nodes, each of which has a log of its own. */
export function otherDrills({ folder, full, smallNats, edge, still }: NightCluster): Drill[] {
  const disk = join(folder, "small");
  return [
    {
      alerts: [{ alert: "CairnFailing", code: "writes-refused", instance: full.address }],
      fault: "max_file_store is reached",
      begin: async () => {
        const text = JSON.stringify({ text: "x".repeat(200_000) });
        for (let status = 200; status !== 507;) {
          const answer = await full.send("PUT", "/api/v1/things/large", text);
          await answer.text();
          ({ status } = answer);
        }
      },
      cure: "old messages are removed",
      end: () => NatsOperator.at(smallNats.url, async (operator) => await operator.purgeBefore(10)),
    },
    {
      alerts: [{ alert: "CairnAttention", code: "disk-nearly-full", instance: edge.address }],
      fault: "the disk shrinks to 64 MB",
      begin: () => Promise.resolve(setDisk(disk, 64, true)),
      cure: "it has 1 GB again",
      end: () => Promise.resolve(setDisk(disk, 1_024, true)),
    },
    {
      alerts: [{ alert: "CairnCertificateEnds", instance: edge.address }],
      fault: "the certificate ends in 2 days",
      begin: () => Promise.resolve(certify(folder, 2)),
      cure: "it is replaced",
      end: () => Promise.resolve(certify(folder, 90)),
    },
    {
      alerts: [
        { alert: "CairnAttention", code: "checkpoint-unverified", instance: still.address },
        { alert: "CairnNotice", code: "checkpoint-skipped", instance: still.address },
      ],
      fault: "the newest checkpoint is damaged, and the node loses its index",
      begin: async () => {
        await save(still);
        await damage((await archives(join(still.folder, "store"))).at(-1) ?? "");
        await still.kill();
        await rm(join(still.folder, "still-index"), { recursive: true });
        await still.start();
        await still.ready();
        await still.send("POST", "/api/v1/checkpoints/newest/verify");
      },
      cure: "another checkpoint is saved and verified",
      end: async () => {
        await save(still);
        await still.ask("POST", "/api/v1/checkpoints/newest/verify");
      },
    },
  ];
}
