import type { FastifyInstance } from "fastify";
import type { NodeApi } from "../../api/node-api.ts";
import type { HttpOptions } from "../../api/system.ts";

/** A function that registers the routes of one resource. */
export type RegisterRoutes = (app: FastifyInstance, api: NodeApi, options: HttpOptions) => void;
