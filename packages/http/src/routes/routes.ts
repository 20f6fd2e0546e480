import { type HttpAnswer, jsonAnswer } from "../answers/answer.ts";
import { openApiDocument } from "../openapi/document.ts";
import { found, type Route, route } from "../openapi/route.ts";
import { checkpointRoutes } from "./checkpoints.ts";
import { documentRoutes } from "./documents.ts";
import { eventRoutes } from "./events.ts";
import { nodeRoutes } from "./node.ts";
import { ownIndexRoutes } from "./own-indexes.ts";
import { policyRoutes } from "./policies.ts";
import { queueRoutes } from "./queues.ts";
import { txRoutes } from "./tx.ts";
import { watchRoutes } from "./watch.ts";

/** The response to GET /openapi.json, which takes about 5 ms to build. */
let openApi: HttpAnswer | undefined;

/** Every route except those of the page. */
export const ROUTES: readonly Route[] = [
  ...nodeRoutes,
  route({
    method: "GET",
    path: "/openapi.json",
    right: "read",
    concerns: "none",
    id: "getOpenApi",
    tag: "node",
    summary: "Return this document.",
    answers: found("OpenAPI 3.0.", { type: "object" }),
    handle: ({ api }) => (openApi ??= jsonAnswer(openApiDocument(api.version, ROUTES))),
  }),
  ...txRoutes,
  ...checkpointRoutes,
  ...eventRoutes,
  ...policyRoutes,
  ...queueRoutes,
  ...ownIndexRoutes,
  ...watchRoutes,
  ...documentRoutes,
];
