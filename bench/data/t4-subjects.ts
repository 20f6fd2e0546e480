import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type ServerProcess, startNodeProcess } from "../harness/node-process.ts";
import { startT4 } from "../harness/t4.ts";
import type { YcsbServer } from "../harness/ycsb.ts";
import { BACKUP_EVERY, type BesideT4, cairnServer, saveCheckpoint, statusOf } from "./beside-t4.ts";
import type { BucketPlace } from "./bucket.ts";
import { newestT4Checkpoint } from "./t4-checkpoints.ts";

/** A node that runs, of Cairn or of T4. */
export interface Running {
  readonly process: ServerProcess;
  readonly client: YcsbServer;
  /** Begins to save a checkpoint. */
  beginSaving(): Promise<void>;
  /** Saves a checkpoint. */
  save(): Promise<void>;
  /** Returns the number of problems that the node has reported. */
  problems(): Promise<number>;
  /** The address of the health check for load balancers. */
  readonly health: string;
}

/** What is done to Cairn and to T4 alike. */
export interface Subject {
  /** Starts a node of the same cluster, and waits until it has all data. */
  start(choice: { readonly dir: string; readonly place: BucketPlace }): Promise<Running>;
  /** Returns the largest object of the newest checkpoint. */
  newestObject(place: BucketPlace): Promise<string>;
}

const BY_NUMBER = new Intl.Collator("en", { numeric: true });

/** Returns a new cluster of Cairn, whose log is on NATS. */
export async function newCairn({ workspace, server }: BesideT4): Promise<Subject> {
  const { url } = await workspace.natsServer();
  const log = { url, stream: `faults-${randomUUID()}` };
  return {
    start: async ({ dir, place }) => {
      const node = await startNodeProcess({ dir, log, checkpoints: place, backUp: BACKUP_EVERY });
      const address = `http://127.0.0.1:${node.port}`;
      return {
        process: node,
        client: cairnServer(node),
        beginSaving: async () => {
          await fetch(`${address}/api/v1/checkpoints`, { method: "POST" });
        },
        save: async () => {
          await saveCheckpoint(node);
        },
        problems: async () => (await statusOf(node)).join.skipped.length,
        health: `${address}/health/ready`,
      };
    },
    newestObject: async (place) => {
      const archives = [...(await server.objects(place)).keys()].filter((name) => name.endsWith(".tar"));
      // The names begin with the numbers of transactions, which have no leading zeros.
      return archives.toSorted((one, other) => BY_NUMBER.compare(one, other)).at(-1) ?? "";
    },
  };
}

/** Returns a new cluster of T4 with these flags. */
export function newT4({ program, server }: BesideT4, flags: readonly string[]): Subject {
  return {
    start: async ({ dir, place }) => {
      const t4 = await startT4(program, { dir, place, flags });
      return {
        process: t4,
        client: t4.client,
        // T4 saves one after each start, and has no command for it.
        beginSaving: () => Promise.resolve(),
        save: () => t4.checkpoints(1),
        problems: async () => {
          const output = await readFile(join(dir, "output.log"), "utf8");
          return [...output.matchAll(/level=(?:warning|error)/g)].length;
        },
        health: `http://127.0.0.1:${t4.port}/readyz`,
      };
    },
    newestObject: async (place) => {
      const { tables } = await newestT4Checkpoint(server, place);
      const [[name] = [""]] = [...tables].toSorted(([, one], [, other]) => other - one);
      return name;
    },
  };
}
