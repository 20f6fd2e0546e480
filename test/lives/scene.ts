import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "@cairn/test-support/cairn-process";
import type { TestS3 } from "@cairn/localstack";
import type { Picks } from "@cairn/test-support/seeded-random";

/** What a life's cluster consists of, which its seed chooses. */
export interface Scene {
  readonly log: "embedded" | "nats" | "nats-cluster";
  readonly nodes: number;
  readonly stores: "folder" | "two folders" | "s3";
  /** The `every` of the log's backup; undefined if there is none. */
  readonly backup: string | undefined;
  readonly checkpoints: object;
  readonly trim: object;
  readonly isEncrypted: boolean;
  /** Whether checkpoints contain the index in SQLite that nodes keep; undefined if they keep none. */
  readonly ownIndex: { readonly isInCheckpoints: boolean } | undefined;
}

/** The places that the nodes of a life share. */
export interface Places {
  readonly folder: string;
  readonly servers: readonly string[];
  readonly s3: TestS3 | undefined;
}

export function chooseScene(picks: Picks): Scene {
  const log = picks.of<Scene["log"]>(["embedded", "embedded", "nats", "nats", "nats", "nats-cluster"]);
  const backup = picks.of([undefined, "PT1S", "PT3S"]);
  return {
    log,
    nodes: log === "embedded" ? 1 : picks.of([1, 2, 2, 3]),
    stores: picks.of<Scene["stores"]>(["folder", "folder", "two folders", "s3"]),
    backup,
    checkpoints: {
      "approx-frequency": picks.of(["PT3S", "PT8S", "PT30S", "PT6H"]),
      ...picks.of<object>([
        {},
        { "retention-policy": { "retain-at-least": 1 } },
        { "retention-policy": { "retain-at-least": 2, "retain-newer-than": "PT20S" } },
      ]),
      ...picks.of<object>([{}, { "verify-every": "PT5S" }]),
      ...picks.of<object>([{}, {}, { compression: "gzip" }]),
      ...picks.of<object>([{}, {}, { "checkpoint-on-close?": true }]),
    },
    trim: picks.of<object>([{}, {}, { trim: { keep: "PT1S" } }]),
    isEncrypted: picks.next() < 0.4,
    ownIndex: picks.of<Scene["ownIndex"]>([undefined, { isInCheckpoints: true }, { isInCheckpoints: false }]),
  };
}

/** The file with the keys of all nodes, whose lines a step changes. */
export function keyFileOf({ folder }: Places): string {
  return `${folder}/cairn.key`;
}

/** Node has SQLite only from 22.16 on. */
const DRIVER = pathToFileURL(
  createRequire(path.join(ROOT, "packages/engine/package.json")).resolve("@photostructure/sqlite"),
).href;

function ownIndexesOf({ isInCheckpoints }: NonNullable<Scene["ownIndex"]>, version: number): object {
  const columns = { state: "state", uid: "uid", n: "n" };
  const tables = { things: { bucket: "things", columns, indexes: [["state", "n"]] } };
  const parameters = { version, driver: DRIVER, "checkpoint?": isInCheckpoints, tables };
  return { things: { "cairn/module": "cairn.sqlite/->index", ...parameters } };
}

/** Policies of every cluster: an indexed field, a bounded history, and a queue. */
export const POLICIES = {
  indexes: { things: ["state"] },
  history: { bounded: { keep: 1 } },
  queues: { jobs: { shards: 4, cap: 2_000, terminal: { state: ["done"] }, lease: "PT2S" } },
};

interface ConfigChanges {
  /** Overrides the log of the scene. */
  readonly log?: object;
  /** The version of the own index. Defaults to 1. */
  readonly version?: number;
}

/** Returns a node's configuration. */
export function configOf(
  scene: Scene,
  id: string,
  dir: string,
  places: Places,
  { log, version = 1 }: ConfigChanges = {},
): object {
  const { folder, s3 } = places;
  const inFolder = (name: string): object => ({
    "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
    path: `${folder}/${name}`,
    "shared-store": true,
  });
  const inS3 = {
    "cairn/module": "cairn.s3/->checkpoint-store",
    bucket: s3?.bucket,
    prefix: prefixOf(places),
  };
  const store = scene.stores === "s3" ? inS3 : inFolder("store");
  const checkpointer = {
    "cairn/module": "cairn.checkpoint/->checkpointer",
    store,
    ...scene.checkpoints,
    ...(scene.stores === "two folders" && { "restore-from": [store, inFolder("second")] }),
    ...(scene.backup !== undefined && { "log-backup": { every: scene.backup } }),
    ...(scene.isEncrypted && { encryption: { "key-file": keyFileOf(places) } }),
  };
  const embedded = { "cairn/module": "cairn.embedded/->tx-log", path: `${dir}/the-log` };
  const replicas = scene.log === "nats-cluster" ? { replicas: 3 } : {};
  const nats = { "cairn/module": "cairn.nats/->tx-log", servers: places.servers, ...replicas };
  return {
    "cairn/node": { id, dir },
    "cairn/tx-log": log ?? { ...(scene.log === "embedded" ? embedded : nats), ...scene.trim },
    "cairn/index-store": { "kv-store": { "cairn/module": "cairn.leveldb/->kv-store", checkpointer } },
    ...(scene.ownIndex !== undefined && { "cairn/indexes": ownIndexesOf(scene.ownIndex, version) }),
  };
}

/** A configuration of a node that reads the log of another one from its backup. */
export function readerOf(config: object): object {
  const { "cairn/index-store": index, ...rest } = config as {
    "cairn/index-store": { "kv-store": { checkpointer: { store: object; encryption?: object } } };
  };
  const { store, ...others } = index["kv-store"].checkpointer;
  const encryption = others.encryption && { encryption: others.encryption };
  return {
    ...rest,
    "cairn/tx-log": { "cairn/module": "cairn.log-backup/->tx-log", store, every: "PT1S", ...encryption },
    "cairn/index-store": {
      "kv-store": {
        "cairn/module": "cairn.leveldb/->kv-store",
        checkpointer: {
          "cairn/module": "cairn.checkpoint/->checkpointer",
          "restore-from": [store],
          ...encryption,
        },
      },
    },
  };
}

const RUN = randomBytes(4).toString("hex");

function prefixOf({ folder }: Places): string {
  return `lives/${RUN}/${folder.slice(folder.lastIndexOf("/") + 1)}`;
}
