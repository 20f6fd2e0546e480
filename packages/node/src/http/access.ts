import { createHash, timingSafeEqual } from "node:crypto";
import { CairnError } from "@cairn/kv";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { RequestError } from "./error-response.ts";

/** Refuses requests without the token (all but /health), and writes that a page of another site makes a browser send. */
export function guard(app: FastifyInstance, authToken: string | undefined): void {
  const expected = authToken === undefined ? undefined : digest(authToken);
  app.addHook("onRequest", (request, _reply, done) => {
    const refused = refusal(request, expected);
    if (refused === undefined) done();
    else done(refused);
  });
}

function refusal(request: FastifyRequest, expected: Buffer | undefined): CairnError | undefined {
  // Bodies are taken as JSON whatever a form says they are, so browsers would not ask first.
  if (request.headers["sec-fetch-site"] === "cross-site" && !isRead(request.method)) {
    return new RequestError("UNAUTHORIZED", "A page of another site may not write.", {
      status: 403,
      hint: "Send the request from a program, or from a page of the same origin.",
    });
  }
  if (expected === undefined || isHealth(request.url)) return undefined;
  const given = /^bearer +(\S+)\s*$/i.exec(request.headers.authorization ?? "")?.[1];
  if (given !== undefined && timingSafeEqual(digest(given), expected)) return undefined;
  return new CairnError(
    "UNAUTHORIZED",
    given === undefined ? "This node asks for a token." : "The token is not the one of this node.",
    { hint: "Send Authorization: Bearer followed by the node's auth-token." },
  );
}

function isRead(method: string): boolean {
  return method === "GET" || method === "HEAD";
}

function isHealth(url: string): boolean {
  return url.startsWith("/health/");
}

/** Comparing digests takes the same time whatever the lengths. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
