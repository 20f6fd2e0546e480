import type { BrokenCluster } from "../scene/broken-cluster.ts";
import { CONFIGURATIONS } from "./configurations.ts";
import { LOG_BACKUPS } from "./log-backups.ts";
import { LOGS } from "./logs.ts";
import { NATS } from "./nats.ts";
import { NODES } from "./nodes.ts";
import { OWN_INDEXES } from "./own-indexes.ts";
import { REQUESTS } from "./requests.ts";
import { STORES } from "./stores.ts";

/** All broken clusters. */
export const BROKEN_CLUSTERS: readonly BrokenCluster[] = [
  ...LOGS,
  ...LOG_BACKUPS,
  ...NATS,
  ...STORES,
  ...NODES,
  ...OWN_INDEXES,
  ...REQUESTS,
  ...CONFIGURATIONS,
];
