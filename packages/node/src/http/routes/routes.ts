import type { FastifyInstance } from "fastify";
import type { RegisterRoutes, RouteParts } from "./register-routes.ts";
import type { ApiFor } from "../permits/permitted-api.ts";
import { checkpointRoutes } from "./checkpoints.ts";
import { bucketRoutes } from "./buckets.ts";
import { eventRoutes } from "./events.ts";
import { nodeRoutes } from "./node.ts";
import { policyRoutes } from "./policies.ts";
import { queueRoutes } from "./queues.ts";
import { digestRoutes } from "./digest.ts";
import { documentRoutes } from "./documents.ts";
import { txRoutes } from "./tx.ts";
import { watchRoutes } from "./watch.ts";

const RESOURCES: readonly RegisterRoutes[] = [
  nodeRoutes,
  txRoutes,
  checkpointRoutes,
  digestRoutes,
  bucketRoutes,
  eventRoutes,
  policyRoutes,
  queueRoutes,
  watchRoutes,
  documentRoutes,
];

export function registerRoutes(app: FastifyInstance, apiFor: ApiFor, parts: RouteParts): void {
  for (const register of RESOURCES) register(app, apiFor, parts);
}
