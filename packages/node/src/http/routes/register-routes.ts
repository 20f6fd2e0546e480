import type { FastifyInstance } from "fastify";
import type { ApiFor } from "../permits/permitted-api.ts";
import type { Tickets } from "../permits/tickets.ts";

export interface RouteParts {
  /** The largest request body in bytes. */
  readonly maxBody: number;
  /** The time that a request may take to arrive (ms). */
  readonly requestTimeoutMs: number;
  readonly tickets: Tickets;
}

/** A function that registers the routes of one resource. `apiFor` returns the node as a request may use it. */
export type RegisterRoutes = (app: FastifyInstance, apiFor: ApiFor, parts: RouteParts) => void;
