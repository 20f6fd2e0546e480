import { JSON_TYPE, jsonAnswer } from "../answers/json-answer.ts";
import { openApiDocument } from "../openapi/document.ts";
import { parseQuery } from "../requests/address.ts";
import type { RegisterRoutes } from "./register-routes.ts";

/** GET /openapi.json. */
export const openApiRoutes: RegisterRoutes = (app, api) => {
  let json: string | undefined;
  app.get("/openapi.json", (request, reply) => {
    parseQuery(request.url, {});
    json ??= jsonAnswer(openApiDocument(api.version));
    return reply.type(JSON_TYPE).send(json);
  });
};
