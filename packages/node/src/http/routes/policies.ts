import type { Policies, Revision } from "@cairn/client";
import {
  formatPolicyProblem,
  POLICY_NAMES,
  type PolicyProblem,
  policyProblems,
} from "../../policies/policy-problems.ts";
import { repeatedKeys } from "../../config/source/repeated-keys.ts";
import { RequestError } from "../answers/request-error.ts";
import { parseQuery } from "../requests/address.ts";
import { READ_PARAMETERS, WRITE_PARAMETERS } from "../requests/parameters.ts";
import { etag, lostBecause, parsePreconditions } from "../requests/preconditions.ts";
import { jsonBody } from "../requests/request-body.ts";
import { timeLimit } from "./await-tx.ts";
import { type ConditionalWrite, writeConditionally } from "./conditional-write.ts";
import type { RegisterRoutes } from "./register-routes.ts";

export const policyRoutes: RegisterRoutes = (app, apiFor) => {
  app.get("/api/v1/policies", async (request, reply) => {
    const { txId, ...policies } = await apiFor(request).policies(parseQuery(request.url, READ_PARAMETERS));
    if (policies.revision !== null) void reply.header("etag", etag(policies.revision));
    return reply.header("cairn-tx", txId).send(policies);
  });

  app.put(
    "/api/v1/policies",
    { config: { onBody: refuseRepeatedKeys, preconditions: true } },
    async (request, reply) => {
      const api = apiFor(request);
      const query = parseQuery(request.url, WRITE_PARAMETERS);
      const policies = checkedPolicies(jsonBody(request));
      const write: ConditionalWrite = {
        subject: "policies",
        preconditions: parsePreconditions(request.headers),
        current: async (options) => (await api.policies(options)).revision ?? undefined,
        operations: (expected) => [
          expected === undefined ? ["configure", policies] : ["configure", policies, expected],
        ],
        lost: policiesChanged,
      };
      const { submitted, result } = await writeConditionally(api, write, {
        awaits: query.await !== false,
        limit: timeLimit(query.timeoutMs),
      });
      if (result === undefined) return reply.code(202).send({ txId: submitted.txId });
      const { txId, committed, reason } = result.outcome;
      if (!committed) throw lostBecause(reason, { lost: READ_AGAIN, refused: AFTER_THAT });
      return reply.header("etag", etag(txId)).header("cairn-tx", txId).send({ txId });
    },
  );
};

function refuseRepeatedKeys(json: string): void {
  const problems = repeatedKeys(json, "body");
  if (problems.length > 0) throw invalidPolicies(problems);
}

function checkedPolicies(body: unknown): Policies {
  const problems = policyProblems(body);
  if (problems.length === 0) return body as Policies;
  throw invalidPolicies(problems);
}

function invalidPolicies(problems: readonly PolicyProblem[]): RequestError {
  return new RequestError(
    "TX_INVALID",
    `Not valid policies: ${problems.map(formatPolicyProblem).join(" ")}`,
    {
      hint: `Correct the policies, which are a map with ${POLICY_NAMES.join(", ")}. GET /openapi.json describes each of them (PUT /api/v1/policies). Nothing was changed.`,
      details: { problems },
    },
  );
}

const READ_AGAIN =
  "Read the policies again (cairn policy show, GET /api/v1/policies) and decide whether to set them.";

const AFTER_THAT =
  "Do first what the reason says (cairn queue show prints the shards of a queue), and then set the policies again.";

function policiesChanged(revision: Revision | undefined): RequestError {
  return lostBecause(`the policies are ${revision === undefined ? "not set" : `at revision ${revision}`}`, {
    lost: READ_AGAIN,
  });
}
