import type { BrokenCluster } from "../scene/broken-cluster.ts";
import { CONFIGURATIONS } from "./configurations.ts";
import { LOGS } from "./logs.ts";
import { NATS } from "./nats.ts";
import { NODES } from "./nodes.ts";
import { REQUESTS } from "./requests.ts";
import { STORES } from "./stores.ts";

/** All broken clusters. */
export const BROKEN_CLUSTERS: readonly BrokenCluster[] = [
  ...LOGS,
  ...NATS,
  ...STORES,
  ...NODES,
  ...REQUESTS,
  ...CONFIGURATIONS,
];
